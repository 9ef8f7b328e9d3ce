"""What was compiled is kept where nobody else can replace it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

from ghostclas.engines.inductor import _private
from ghostclas.errors import UsageError

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="owners and modes of POSIX")


def test_the_folder_of_compiled_programs_is_private_and_kept(tmp_path: Path) -> None:
    folder = _private(tmp_path / "cache" / "inductor")
    assert folder.stat().st_mode & 0o777 == 0o700
    (folder / "program.pt2").touch()
    assert list(_private(folder).iterdir()) == [folder / "program.pt2"]


@pytest.mark.parametrize("mode", [0o775, 0o707])
def test_programs_that_others_could_have_replaced_are_made_again(mode: int, tmp_path: Path) -> None:
    folder = tmp_path / "inductor"
    (folder / ".making-1").mkdir(parents=True)
    (folder / "program.pt2").touch()
    (folder / "linked.pt2").symlink_to(tmp_path)
    folder.chmod(mode)
    assert list(_private(folder).iterdir()) == []
    assert folder.stat().st_mode & 0o777 == 0o700
    assert tmp_path.is_dir()


def test_a_folder_of_somebody_else_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "inductor").symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UsageError, match="is not yours, and what is compiled there would be run"):
        _private(tmp_path / "inductor")
    monkeypatch.setattr(os, "geteuid", lambda: -1)
    with pytest.raises(UsageError, match="is not yours"):
        _private(tmp_path / "elsewhere")
    (tmp_path / "file").touch()
    with pytest.raises(UsageError, match="cannot keep a compiled program in"):
        _private(tmp_path / "file" / "inductor")
