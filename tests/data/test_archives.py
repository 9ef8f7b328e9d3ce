"""An archive is read whole or refused, and nothing of it leaves the place it is unpacked to."""

from __future__ import annotations

import gzip
import lzma
import sys
import tarfile
from pathlib import Path

import pytest

from ghostclas.data.archives import MAX_FILE_BYTES, open_tar, regular_members, write_member
from ghostclas.errors import DataError
from tests.data.hostile import HOSTILE, add
from tests.limited import run_python


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


def extended(size: int, kind: bytes = tarfile.XHDTYPE, content: bytes = b"") -> bytes:
    """A header that belongs to the next member and says that it has ``size`` bytes."""
    info = tarfile.TarInfo("header")
    info.type, info.size = kind, size
    return info.tobuf(tarfile.GNU_FORMAT) + content + bytes(-len(content) % 512)


def record(key: str, value: str) -> bytes:
    """A line of such a header."""
    line = f" {key}={value}\n"
    length = len(line) + len(str(len(line) + 3))
    return f"{length}{line}".encode()


HOSTILE_HEADERS = {
    "chained": extended(0) * 900,
    "names": extended(512, tarfile.GNUTYPE_LONGNAME, b"a" * 512) * 900,
    "as large as memory": extended(1 << 40),
    "negative": extended(-512),
    "many for all": b"".join(
        extended(512, tarfile.XGLTYPE, record(f"k{number}", "v")[:512]) for number in range(40)
    ),
    "size of a number without end": extended(5120, content=record("size", "9" * 5000)),
    "size beyond the end": extended(512, content=record("size", "99999999999999999999")),
    "size below nothing": extended(512, content=record("size", "-512")),
    "sparse": extended(512, content=record("GNU.sparse.map", "0,x,-1")),
    "long name": extended(512, tarfile.GNUTYPE_LONGNAME, b"a" * 300),
}
"""What stands before a member, by what it does."""

REFUSING = """
import io, sys
from pathlib import Path
from ghostclas.data.archives import open_tar, regular_members, write_member
from ghostclas.errors import DataError
for path in sorted(Path(sys.argv[1]).glob("*.tar*")):
    try:
        with open_tar(path) as tar:
            for name, member in regular_members(tar, str(path)):
                write_member(tar, member, Path(sys.argv[1]) / name.name)
        print(path.stem, "unpacked")
    except DataError as error:
        print(path.stem, len(str(error).splitlines()), len(str(error)) < 1000)
"""


@pytest.mark.skipif(sys.platform == "win32", reason="limits of a process")
def test_headers_that_lie_end_in_one_line_and_little_memory(tmp_path: Path) -> None:
    info = tarfile.TarInfo("a.jpg")
    info.size = 3
    member = info.tobuf() + b"abc" + bytes(509)
    for name, header in HOSTILE_HEADERS.items():
        (tmp_path / f"{name}.tar").write_bytes(header + member + bytes(1024))
    with gzip.open(tmp_path / "bomb.tar.gz", "wb") as packed:
        packed.write(extended(1 << 30))
        for _ in range(300):
            packed.write(bytes(1 << 20))
    (tmp_path / "damaged.tar.xz").write_bytes(lzma.compress(member)[:40] + bytes(100))
    outcome = run_python(REFUSING, tmp_path)
    expected = sorted([*HOSTILE_HEADERS, "bomb.tar", "damaged.tar"])
    assert sorted(outcome.stdout.splitlines()) == [f"{name} 1 True" for name in expected], outcome
    assert outcome.cpu_seconds < 10
    assert outcome.peak_bytes < 150e6
