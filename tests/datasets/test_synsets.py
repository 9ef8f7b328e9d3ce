"""The classes of ImageNet, read from the package timm."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from ghostclas.datasets.synsets import imagenet_synsets
from tests.fresh import modules_after


def test_synsets_come_in_the_order_of_their_identifiers_without_importing_timm() -> None:
    pytest.importorskip("timm", reason="timm is not installed")
    synsets = imagenet_synsets()
    assert synsets is not None
    assert len(synsets) == 1000
    assert [synset.identifier for synset in synsets] == sorted(synset.identifier for synset in synsets)
    assert synsets[281] == ("n02123045", "tabby, tabby cat")
    assert "timm" not in modules_after(
        "from ghostclas.datasets.synsets import imagenet_synsets; imagenet_synsets()"
    )


def test_without_timm_there_are_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "timm").mkdir()
    (tmp_path / "timm" / "__init__.py").touch()
    monkeypatch.delitem(sys.modules, "timm", raising=False)
    monkeypatch.syspath_prepend(tmp_path)
    assert imagenet_synsets() is None
