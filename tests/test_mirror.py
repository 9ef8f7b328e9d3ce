"""Tests mirror the modules, and import only helper modules of tests."""

from __future__ import annotations

import ast
from pathlib import Path

TESTS = Path(__file__).parent
SOURCES = TESTS.parent / "src" / "ghostclas"

ENGINES = "contract/test_engines.py"
FORMATS = "exporting/test_formats.py"
ELSEWHERE = {
    "engines/contract.py": ENGINES,
    "engines/executorch.py": ENGINES,
    "engines/file_engine.py": ENGINES,
    "engines/litert.py": ENGINES,
    "engines/mnn.py": ENGINES,
    "engines/onnxruntime.py": ENGINES,
    "engines/openvino.py": ENGINES,
    "engines/tensorrt.py": ENGINES,
    "engines/torch.py": ENGINES,
    "exporting/executorch.py": FORMATS,
    "exporting/litert.py": FORMATS,
    "exporting/mnn.py": FORMATS,
    "exporting/ncnn.py": FORMATS,
    "exporting/openvino.py": FORMATS,
    "exporting/paddle.py": FORMATS,
    "exporting/torch_export.py": FORMATS,
}
"""Modules that one suite tests for all of their kind, and where it is."""


def own_test(module: str) -> str:
    room, _, name = module.rpartition("/")
    return f"{room}/test_{name}" if room else f"test_{name}"


def test_every_module_has_a_test_of_its_name_or_a_suite_of_its_kind() -> None:
    modules = {
        file.relative_to(SOURCES).as_posix()
        for file in SOURCES.rglob("*.py")
        if not file.name.startswith("__")
    }
    assert ELSEWHERE.keys() <= modules, "the table names modules that are gone"
    assert all((TESTS / suite).is_file() for suite in ELSEWHERE.values())
    alone = {module for module in modules if (TESTS / own_test(module)).is_file()}
    assert ELSEWHERE.keys().isdisjoint(alone), "the table names modules that have tests of their own"
    assert modules - alone - ELSEWHERE.keys() == set()


def test_no_test_module_imports_another() -> None:
    borrowed = [
        f"{file.relative_to(TESTS).as_posix()} imports {node.module}"
        for file in TESTS.rglob("*.py")
        for node in ast.walk(ast.parse(file.read_text(encoding="utf-8")))
        if isinstance(node, ast.ImportFrom) and ".test_" in f".{node.module}"
    ]
    assert borrowed == []
