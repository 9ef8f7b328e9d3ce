"""Where a run was computed and by what."""

from __future__ import annotations

import platform

import numpy as np

import ghostclas
from ghostclas.training.facts import hardware, images, versions


def test_a_device_stands_before_the_processor() -> None:
    assert hardware("H100") == f"H100; {hardware()}"
    assert " core" in hardware()


def test_packages_have_their_versions_and_what_is_missing_says_so() -> None:
    python = f"Python {platform.python_version()}"
    assert versions() == f"ghostclas {ghostclas.__version__}, {python}"
    others = f"numpy {np.__version__}, no-such-package unknown"
    assert versions("numpy", "no-such-package") == f"ghostclas {ghostclas.__version__}, {others}, {python}"


def test_unreadable_images_are_named_where_there_are_any() -> None:
    assert images(1200, 100, 0) == "1,200 to learn from, 100 to validate"
    assert images(1200, 100, 3) == "1,200 to learn from, 100 to validate, 3 unreadable"
