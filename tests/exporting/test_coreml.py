"""Core ML files are written on every system; only macOS runs them."""

from __future__ import annotations

import json

from ghostclas.bundle import Bundle
from ghostclas.verification import verify
from tests.exporting.added import present


def test_core_ml_is_written_with_its_description_and_told_as_not_run_here(full_bundle: Bundle) -> None:
    present(full_bundle, "coreml")
    entry = full_bundle.file("coreml").entry
    assert entry.path == "model.mlpackage/Manifest.json"
    assert json.loads(full_bundle.read(entry.path))["itemInfoEntries"]
    assert (
        "model.mlpackage/Manifest.json: needs a runtime outside this package" in verify(full_bundle).skipped
    )
