"""The names of ImageNet's classes."""

from __future__ import annotations

from importlib.util import find_spec

import pytest

from ghostclas.exporting.trained import imagenet_classes


def test_imagenet_has_a_thousand_different_names_in_its_usual_order() -> None:
    if find_spec("timm") is None:
        pytest.skip("timm is not installed")
    names = imagenet_classes()
    assert names is not None
    assert len(set(names)) == 1000
    assert (names[0], names[281], names[999]) == (
        "tench, Tinca tinca",
        "tabby, tabby cat",
        "toilet tissue, toilet paper, bathroom tissue",
    )
