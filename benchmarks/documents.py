"""Tables in the documents, each between two comments that name it."""

from __future__ import annotations

from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from ghostclas.bench.machine import describe_machine

DOCS = Path(__file__).parents[1] / "docs"


def table(header: str, rows: Sequence[Sequence[str]]) -> list[str]:
    """Return the lines of a Markdown table; columns of the header are separated by ``|``."""
    columns = header.split("|")
    return ["| " + " | ".join(row) + " |" for row in (columns, ["---"] * len(columns), *rows)]


def machine(packages: Sequence[str]) -> str:
    """Describe the machine of a benchmark, with the versions of these packages."""
    versions = ", ".join(f"{package} {version(package)}" for package in packages)
    here = describe_machine()
    return f"{here.cpu}, {here.cores} CPU cores, {here.system}; {versions}."


def write_page(path: Path, lines: Sequence[str]) -> None:
    """Write the lines of a result as a page, and print them."""
    text = "\n".join(lines)
    print(text)
    path.write_text(text, encoding="utf-8")


def fill(document: str, name: str, lines: Sequence[str]) -> None:
    """Put the lines between the comments ``name: begin`` and ``name: end`` of a document, and print them."""
    path = DOCS / document
    begin, end = f"<!-- {name}: begin -->", f"<!-- {name}: end -->"
    head, rest = path.read_text(encoding="utf-8").split(begin, 1)
    _, tail = rest.split(end, 1)
    path.write_text(head + "\n".join([begin, "", *lines, "", end]) + tail, encoding="utf-8")
    print("\n".join(lines))
