"""An archive is read whole or refused, and nothing of it leaves the place it is unpacked to."""

from __future__ import annotations

import tarfile
from pathlib import Path

import pytest

from ghostclas.data.archives import MAX_FILE_BYTES, open_tar, regular_members, write_member
from ghostclas.errors import DataError
from tests.data.hostile import HOSTILE, add


def extract(archive: Path, target: Path, *, max_bytes: int = MAX_FILE_BYTES) -> None:
    """Unpack the regular files of an archive."""
    with open_tar(archive) as tar:
        for name, member in regular_members(tar, str(archive), max_bytes=max_bytes):
            (target / name).parent.mkdir(parents=True, exist_ok=True)
            write_member(tar, member, target / name)


def tree(folder: Path) -> dict[str, bytes]:
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.mark.parametrize("case", HOSTILE)
def test_nothing_escapes_and_the_bad_member_is_named(case: str, tmp_path: Path) -> None:
    name, kind, link, message = HOSTILE[case]
    with tarfile.open(tmp_path / "bad.tar", "w") as tar:
        add(tar, "good.JPEG", b"good")
        add(tar, name, b"evil" if kind == tarfile.REGTYPE else b"", kind, link)
    with pytest.raises(DataError, match=message) as caught:
        extract(tmp_path / "bad.tar", tmp_path / "inside" / "out")
    assert repr(name) in str(caught.value)
    assert tree(tmp_path) == {
        "bad.tar": (tmp_path / "bad.tar").read_bytes(),
        "inside/out/good.JPEG": b"good",
    }


def test_a_member_that_is_too_large_is_not_unpacked(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "big.tar", "w") as tar:
        add(tar, "big.JPEG", b"x" * 1001)
    with pytest.raises(DataError, match="has 1,001 bytes; the limit is 1,000"):
        extract(tmp_path / "big.tar", tmp_path / "out", max_bytes=1000)


def test_nothing_that_exists_is_replaced_or_written_through(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        add(tar, "a.JPEG", b"new")
    (tmp_path / "precious").write_bytes(b"old")
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "a.JPEG").symlink_to(tmp_path / "precious")
    with pytest.raises(DataError, match="exists already"):
        extract(tmp_path / "x.tar", tmp_path / "out")
    assert (tmp_path / "precious").read_bytes() == b"old"


def test_an_archive_is_read_to_its_end_mark_or_refused(tmp_path: Path) -> None:
    good = tmp_path / "x.tar"
    with tarfile.open(good, "w") as tar:
        for i in range(3):
            add(tar, f"{i}.JPEG", bytes([65 + i]) * 700)
    whole = good.read_bytes()

    def members() -> list[str]:
        with open_tar(good) as tar:
            return [str(name) for name, _ in regular_members(tar, "x.tar")]

    assert members() == ["0.JPEG", "1.JPEG", "2.JPEG"]
    end = 3 * (512 + 1024)
    for cut in (1, 511, 512, 700, 1536, 2000, end - 1, end):
        good.write_bytes(whole[:cut])
        with pytest.raises(DataError, match=r"cut short|damaged"):
            members()
    damaged = bytearray(whole)
    damaged[1536 + 3] ^= 0xFF
    good.write_bytes(damaged)
    with pytest.raises(DataError, match="damaged at byte 1,536"):
        members()
