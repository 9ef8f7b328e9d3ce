"""The settings of a distillation."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.errors import UsageError
from ghostclas.training import resolve_config
from ghostclas.training.config import differences
from tests.ssld.distilling import distilling
from tests.training.runs import SETTINGS


def test_settings_below_distil_are_known_and_unknown_ones_get_the_nearest_name(tmp_path: Path) -> None:
    assert distilling(tmp_path, "distil.mine.top_k=7").distil.mine.top_k == 7
    with pytest.raises(
        UsageError, match=r"unknown setting 'distil.mine.topk'; did you mean 'distil.mine.top_k'"
    ):
        distilling(tmp_path, "distil.mine.topk=7")
    with pytest.raises(UsageError, match=r"distil.views stores whole views: set augment.mixup=0"):
        distilling(tmp_path, "distil.views=2", "augment.mixup=0.2")


def test_differences_name_settings_that_only_one_of_two_runs_has(tmp_path: Path) -> None:
    plain = resolve_config("scratch", SETTINGS, {"data": {"path": str(tmp_path)}})
    assert "distil.loss: None -> 'js'" in differences(plain, distilling(tmp_path))
