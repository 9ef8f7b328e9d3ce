"""The examples of the documents and docstrings: Python blocks and command lines, with where they stand."""

from __future__ import annotations

import ast
import re
import shlex
from collections.abc import Collection, Iterator
from pathlib import Path
from textwrap import dedent
from typing import NamedTuple

import typer

from ghostclas.cli import app
from ghostclas.cli.volume import QUIET, VERBOSE
from ghostclas.errors import did_you_mean

ROOT = Path(__file__).parent.parent
PAGES = (
    ROOT / "README.md",
    ROOT / "README.zh-CN.md",
    ROOT / "CONTRIBUTING.md",
    *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "docs" / "zh").glob("*.md")),
)
SERVED = ROOT / "docs" / "serving.md"
"""Its examples need a server; the tests of ``serve`` run them."""
ELSEWHERE = ROOT / "docs" / "elsewhere.md"
"""Its programs take arguments; ``tests/test_elsewhere.py`` runs them."""
SOURCES = sorted((ROOT / "src" / "ghostclas").rglob("*.py"))
RECIPES = sorted((ROOT / "src" / "ghostclas" / "recipes").glob("*.yaml"))

_FENCED = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
_INLINE = re.compile(r"`(ghostclas [^`]+)`", re.DOTALL)
_INDENTED = re.compile(r"(?:^|\n\n)((?: {4,}[^\n]*(?:\n(?= *\n)|\n|$)(?:[ \t]*\n(?= {4}))*)+)")


class Example(NamedTuple):
    """A piece of code and the file that it stands in."""

    where: str
    code: str


def fenced(page: Path, language: str) -> Iterator[str]:
    """Yield the code blocks of a page in ``language``."""
    yield from fenced_in(page.read_text(encoding="utf-8"), language)


def fenced_in(text: str, language: str) -> Iterator[str]:
    """Yield the code blocks of a text in ``language``."""
    for found, code in _FENCED.findall(text):
        if found == language:
            yield code


def page_examples() -> list[Example]:
    """Return the Python of each page: its blocks in their order, as one program."""
    programs = (
        (page, "\n".join(fenced(page, "python"))) for page in PAGES if page not in (SERVED, ELSEWHERE)
    )
    return [Example(page.relative_to(ROOT).as_posix(), code) for page, code in programs if code]


def docstring_examples() -> list[Example]:
    """Return the indented blocks of docstrings that are Python and call or import something."""
    found = []
    for source in SOURCES:
        tree = ast.parse(source.read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
                text = ast.get_docstring(node) or ""
                name = getattr(node, "name", "module")
                where = f"{source.relative_to(ROOT).as_posix()}:{name}"
                found += [Example(where, code) for code in _indented_python(text)]
    return found


def _indented_python(text: str) -> Iterator[str]:
    for block in _INDENTED.findall(text):
        code = dedent(block)
        try:
            tree = ast.parse(code)
        except SyntaxError:
            continue
        if any(isinstance(node, ast.Call | ast.Import | ast.ImportFrom) for node in ast.walk(tree)):
            yield code


def command_lines() -> list[Example]:
    """Return every ``ghostclas ...`` command of the pages and recipes, without comments and continuations."""
    lines = []
    for file in (*PAGES, *RECIPES):
        text = file.read_text(encoding="utf-8")
        where = file.relative_to(ROOT).as_posix()
        if file.suffix == ".yaml":
            header = re.sub(r"^# ?", "", text, flags=re.MULTILINE)
            found = re.findall(r"^ +(ghostclas (?:.*\\\n)*.*)$", header, re.MULTILINE)
        else:
            blocks = [code for language in ("bash", "sh", "") for code in fenced(file, language)]
            found = [line for code in blocks for line in _commands(code)]
            found += [" ".join(code.split()) for code in _INLINE.findall(_FENCED.sub("", text))]
        lines += [Example(where, line.replace("\\\n", " ")) for line in found]
    return lines


def shell_lines(page: Path) -> list[str]:
    """Return each line that a reader of the page types into a shell, in their order, without comments.

    All lines of a ``bash`` block are typed. Of a block without a language it is those of ``ghostclas``.
    """
    text = page.read_text(encoding="utf-8")
    lines = []
    for language, code in _FENCED.findall(text):
        if language not in ("bash", "sh", ""):
            continue
        for line in code.replace("\\\n", " ").splitlines():
            words = shlex.split(line, comments=True) if language or line.startswith("ghostclas ") else []
            lines += [shlex.join(words)] * bool(words)
    return lines


def source_command_lines(verbs: Collection[str]) -> list[Example]:
    """Return the commands in the strings of the sources: hints, messages, and words handed to ``print_next``.

    A command is ``ghostclas`` and one of ``verbs``; what a string puts in at run time stands as ``X``.
    """
    found: dict[Example, None] = {}
    command = re.compile(rf"\bghostclas (?:{'|'.join(verbs)})(?: [\w./=<>-]+)*")
    for source in SOURCES:
        where = source.relative_to(ROOT).as_posix()
        for node in ast.walk(ast.parse(source.read_text(encoding="utf-8"))):
            for line in command.findall(" ".join(_text(node).split())):
                found[Example(where, line.rstrip("."))] = None
    return list(found)


def _text(node: ast.AST) -> str:
    """Return a string of a source, or the words of a sequence, with ``X`` for what is not written there."""
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.JoinedStr(values=parts):
            return "".join(_text(part) for part in parts)
        case ast.Call(args=words) | ast.Tuple(elts=words) | ast.List(elts=words):
            return " ".join(_word(word) for word in words)
        case ast.FormattedValue():
            return "X"
        case _:
            return ""


def _word(node: ast.expr) -> str:
    match node:
        case ast.Constant(value=str(text)):
            return text
        case ast.Starred(value=ast.Tuple() | ast.List() as several):
            return _text(several)
        case _:
            return "X"


def _commands(code: str) -> Iterator[str]:
    for line in code.replace("\\\n", " ").splitlines():
        for part in re.split(r"&&|\|", line):
            words = part.split("#")[0].strip()
            if words.startswith("ghostclas "):
                yield words
            elif "-m ghostclas " in words:
                yield words[words.index("-m ghostclas ") + 3 :]


def words_of(line: str) -> list[str]:
    """Return the arguments of a command line, without its first word."""
    return shlex.split(line, comments=True)[1:]


def unknown_words(line: str) -> list[str]:
    """Return the options of a command line that its command has not, with the nearest that it has."""
    words = words_of(line)
    command = root = typer.main.get_command(app)
    context = command.make_context("ghostclas", [], resilient_parsing=True)
    while words and hasattr(command, "get_command"):
        below = command.get_command(context, words[0])
        if below is None:
            break
        command, words = below, words[1:]
        context = command.make_context(str(command.name), [], resilient_parsing=True)
    if command is root and words and not words[0].startswith("-"):
        return words[:1]
    options = [parameter for parameter in command.params if not getattr(parameter, "hidden", False)]
    known = {name for option in options for name in option.opts} | {
        *context.help_option_names,
        *QUIET,
        *VERBOSE,
    }
    used = {word.partition("=")[0] for word in words if word.startswith("-")} - {"-", "--"}
    return [option + did_you_mean(option, known) for option in sorted(used - known)]
