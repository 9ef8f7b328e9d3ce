"""Class folders inside an archive: names without a mark, hostile names, damaged entries."""

from __future__ import annotations

import pickle
import re
import zipfile
from pathlib import Path

import pytest

from ghostclas import imaging
from ghostclas.data import open_source, source_notes
from ghostclas.errors import DataError, ImageError
from tests.data.stored import in_zip
from tests.data.trees import picture


def zip_unmarked(archive: Path, names: list[str], encoding: str) -> Path:
    """Pack images under names in a code page, as packers on Windows do: without the mark of UTF-8."""
    with zipfile.ZipFile(archive, "w") as file:
        for number, name in enumerate(names):
            file.writestr(chr(ord("A") + number) * len(name.encode(encoding)), picture(number))
    content = archive.read_bytes()
    for number, name in enumerate(names):
        raw = name.encode(encoding)
        content = content.replace(bytes([ord("A") + number]) * len(raw), raw)
    archive.write_bytes(content)
    return archive


@pytest.mark.parametrize(
    ("classes", "encoding", "called"),
    [
        (["猫", "小狗狗"], "gbk", "GBK"),
        (["猫", "小狗狗"], "utf-8", None),
        (["Möwe", "Grünfink"], "cp437", "code page 437"),
    ],
)
def test_names_in_a_zip_that_are_not_marked_are_detected_and_told(
    classes: list[str], encoding: str, called: str | None, tmp_path: Path
) -> None:
    archive = zip_unmarked(tmp_path / "x.zip", [f"{name}/1.jpg" for name in classes], encoding)
    source = pickle.loads(pickle.dumps(open_source(archive)))
    assert sorted(source.classes) == sorted(classes)
    for index in range(2):
        imaging.decode(source.read(index))
    notes = source_notes(source)
    assert len(notes) == (1 if called else 0)
    assert all(str(called) in note for note in notes)


@pytest.mark.parametrize("name", ["../out/1.jpg", "/etc/1.jpg", "ant\\1.jpg", "ant//1.jpg"])
def test_a_zip_with_names_that_lead_elsewhere_is_refused(name: str, tmp_path: Path) -> None:
    archive = tmp_path / "bad.zip"
    with zipfile.ZipFile(archive, "w") as file:
        file.writestr("ant/0.jpg", picture(0))
        file.writestr(name, picture(1))
    with pytest.raises(DataError, match="not a plain relative path"):
        open_source(archive)


def test_a_damaged_zip_entry_is_an_image_error_and_the_others_still_read(
    photos: Path, tmp_path: Path
) -> None:
    archive = in_zip(photos, tmp_path)
    source = open_source(archive)
    good = source.read(1)
    damaged = bytearray(archive.read_bytes())
    at = damaged.index(source.read(0)) + 100
    damaged[at] ^= 0xFF
    (tmp_path / "damaged.zip").write_bytes(damaged)
    source = open_source(tmp_path / "damaged.zip")
    with pytest.raises(ImageError) as caught:
        source.read(0)
    assert caught.value.code == "unreadable"
    assert source.read(1) == good


def patched(content: bytes, signature: bytes, at: int, value: bytes) -> bytes:
    """The archive with ``value`` in every record of a kind."""
    for start in [match.start() for match in re.finditer(re.escape(signature), content)]:
        content = content[: start + at] + value + content[start + at + len(value) :]
    return content


@pytest.mark.parametrize(
    "method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA]
)
@pytest.mark.parametrize("damage", ["data", "method", "claims more", "claims less"])
def test_damage_of_an_entry_in_any_compression_is_an_image_error(
    damage: str, method: int, tmp_path: Path
) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w", method) as archive:
        archive.writestr("ant/0.jpg", picture(0))
    content = path.read_bytes()
    if damage == "data":
        content = content[:48] + bytes(200) + content[248:]
    elif damage == "method":
        content = patched(patched(content, b"PK\3\4", 8, b"\x63\0"), b"PK\1\2", 10, b"\x63\0")
    else:
        size = (10**9 if damage == "claims more" else 10).to_bytes(4, "little")
        content = patched(content, b"PK\1\2", 24, size)
    path.write_bytes(content)
    source = open_source(path)
    with pytest.raises(ImageError) as caught:
        source.read(0)
    assert caught.value.code == ("too_large" if damage == "claims more" else "unreadable")


@pytest.mark.parametrize("name", ["ant/" * 500 + "0.jpg", "a/" * 30_000 + "0.jpg", "\xff/0.jpg"])
def test_names_too_deep_or_in_no_encoding_are_refused_in_one_short_line(name: str, tmp_path: Path) -> None:
    path = tmp_path / "photos.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr(name, picture(0))
    if "\xff" in name:
        path.write_bytes(path.read_bytes().replace("\xff".encode(), b"\xff\xff"))
    with pytest.raises(DataError) as caught:
        open_source(path)
    assert len(str(caught.value)) < 1000
