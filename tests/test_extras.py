"""Packages that an extra installs."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.errors import MissingExtraError
from ghostclas.extras import require


def test_a_package_that_is_there_is_returned() -> None:
    assert require("json", extra="train").loads("1") == 1


@pytest.mark.parametrize("module", ["no_such_package", "no_such_package.part"])
def test_a_missing_package_is_told_with_the_command_that_installs_it(module: str) -> None:
    with pytest.raises(MissingExtraError, match=r"'no_such_package'.*pip install 'ghostclas\[report\]'"):
        require(module, extra="report")


def test_a_package_that_lacks_another_one_is_not_said_to_be_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "half_installed.py").write_text("import no_such_package\n", encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ModuleNotFoundError, match="no_such_package"):
        require("half_installed", extra="report")
