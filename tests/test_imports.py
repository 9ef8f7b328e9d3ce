"""Modules import each other one way."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import ghostclas

SOURCES = Path(ghostclas.__file__).parent


def imported(tree: ast.AST) -> Iterator[str]:
    """Name what a module imports, wherever in it, but for what only type checkers read."""
    for node in ast.iter_child_nodes(tree):
        if isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING":
            continue
        if isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)
        elif isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        else:
            yield from imported(node)


def modules() -> Mapping[str, set[str]]:
    """Map every module to the modules of the package that it imports."""
    trees = {
        ".".join(("ghostclas", *file.relative_to(SOURCES).with_suffix("").parts)).removesuffix(
            ".__init__"
        ): ast.parse(file.read_text(encoding="utf-8"))
        for file in SOURCES.rglob("*.py")
    }
    return {name: {each for each in imported(tree) if each in trees} - {name} for name, tree in trees.items()}


def test_no_module_imports_itself_through_others() -> None:
    graph = modules()
    assert len(graph) > 150
    try:
        TopologicalSorter(graph).prepare()
    except CycleError as error:
        raise AssertionError(f"these import each other in a circle: {error.args[1]}") from None
