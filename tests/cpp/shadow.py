"""A pytest plugin: whatever bundle a test opens, libghostclas opens too, and both say the same.

    pytest -p tests.cpp.shadow tests/bundle

``GHOSTCLAS_SHADOW`` names the file that gets the number of comparisons and the differences, as JSON.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest

import ghostclas.engines
from ghostclas.bundle import Bundle
from ghostclas.engines.contract import Engine
from ghostclas.errors import GhostclasError
from tests.cpp.native import NativeClassifier, NativeError, refusal

_open_bundle = Bundle.open
_open_engine = ghostclas.engines.open_engine
_seen: dict[str, Any] = {"compared": 0, "refused": 0, "differences": []}


def pytest_configure(config: pytest.Config) -> None:
    """Watch what tests open; they have not been imported yet."""
    Bundle.open = classmethod(_watched_bundle)  # type: ignore[method-assign, assignment]
    ghostclas.engines.open_engine = _watched_engine


def pytest_unconfigure(config: pytest.Config) -> None:
    """Write the report."""
    Path(os.environ["GHOSTCLAS_SHADOW"]).write_text(json.dumps(_seen), encoding="utf-8")


def _watched_bundle(cls: type[Bundle], path: str | os.PathLike[str]) -> Bundle:
    _compare(_refusal_in_python(path), refusal(path))
    return _open_bundle(path)


def _refusal_in_python(path: str | os.PathLike[str]) -> str | None:
    try:
        _open_bundle(path).check()
    except GhostclasError as error:
        return str(error)
    return None


def _watched_engine(name: str, bundle: Bundle, **options: Any) -> Engine:
    if name not in ("auto", "onnxruntime") or options.get("precision") == "bf16":
        return _open_engine(name, bundle, **options)
    native = None
    try:
        NativeClassifier(bundle.path, threads=1).close()
    except NativeError as error:
        native = str(error)
    try:
        engine = _open_engine(name, bundle, **options)
    except GhostclasError as error:
        _compare(str(error), native)
        raise
    _compare(None, native)
    return engine


def _compare(python: str | None, native: str | None) -> None:
    _seen["compared"] += 1
    _seen["refused"] += python is not None
    if python != native:
        _seen["differences"].append([python, native])
