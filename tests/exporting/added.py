"""Checks that the tests of formats share."""

from __future__ import annotations

import pytest

from ghostclas.bundle import Bundle

ENGINE = {
    "onnx": "onnxruntime",
    "coreml": None,
    "paddle_legacy": None,
    "paddle2onnx": "onnxruntime",
    "paddlelite": None,
    "pdparams": None,
}
"""The engine of a format that has another name; ``None`` where none here runs it."""
EXACT = 1e-3


def content(bundle: Bundle) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in bundle.path.rglob("*") if path.is_file()}


def present(bundle: Bundle, name: str) -> None:
    if name not in {entry.format for entry in bundle.manifest.files}:
        pytest.skip(f"the toolchain of {name} is not here")
