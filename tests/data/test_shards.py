"""WebDataset shards, their index, and what is wrong with them."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from ghostclas.data import open_source, source_notes
from ghostclas.data.shards import expand_braces, shard_index, write_shard, write_shards
from ghostclas.errors import DataError, ImageError
from tests.data.stored import contents, in_shards
from tests.data.trees import make_folder, picture


def test_braces_expand_as_in_a_shell() -> None:
    assert expand_braces("x-{008..011}.tar") == ["x-008.tar", "x-009.tar", "x-010.tar", "x-011.tar"]
    assert expand_braces("{a,b}-{1..2}") == ["a-1", "a-2", "b-1", "b-2"]
    assert expand_braces("{3..1}") == ["3", "2", "1"]
    assert expand_braces("plain{x}.tar") == ["plain{x}.tar"]


def test_a_brace_pattern_is_a_source_and_names_a_missing_shard(photos: Path, tmp_path: Path) -> None:
    folder = in_shards(photos, tmp_path)
    assert contents(open_source(folder / "train-{000000..000002}.tar")) == contents(open_source(folder))
    with pytest.raises(DataError, match=r"train-000003\.tar"):
        open_source(folder / "train-{000000..000003}.tar")


def test_an_index_is_used_until_its_shard_changes(photos: Path, tmp_path: Path) -> None:
    folder = in_shards(photos, tmp_path)
    shard = folder / "train-000000.tar"
    entries = shard_index(shard)
    index = folder / ".train-000000.tar.index.json"
    index.write_text(index.read_text().replace("ant/000.jpg", "ant/xxx.jpg"))
    assert shard_index(shard)[0].name == "ant/xxx.jpg"
    os.utime(shard, ns=(1, 1))
    assert shard_index(shard) == entries


def test_a_shard_of_the_same_size_and_time_with_other_content_is_indexed_again(
    photos: Path, tmp_path: Path
) -> None:
    folder = in_shards(photos, tmp_path)
    shard = folder / "train-000000.tar"
    status, source = shard.stat(), open_source(photos)
    names = [entry.name.replace("000", "zzz") for entry in shard_index(shard)]
    write_shard(shard, [(name, source.read(i), "0") for i, name in enumerate(names)])
    assert shard.stat().st_size == status.st_size
    os.utime(shard, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert shard_index(shard)[0].name == "ant/zzz.jpg"


def test_an_index_that_lies_about_places_gives_no_other_bytes(photos: Path, tmp_path: Path) -> None:
    folder = in_shards(photos, tmp_path)
    (shard,) = folder.glob("*-000000.tar")
    entries = shard_index(shard)
    index = folder / f".{shard.name}.index.json"
    index.write_text(index.read_text().replace(f"{entries[0].offset}, ", f"{entries[0].offset + 512}, "))
    source = open_source(folder)
    with pytest.raises(ImageError, match=r"does not hold ant/000\.jpg where its index says") as caught:
        source.read(0)
    assert caught.value.code == "unreadable"
    assert len(source.read(1)) == entries[1].size


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: text.replace('"samples": [[', '"samples": [["a", -1, 5, "0"], ['),
        lambda text: text.replace('"samples": [[', '"samples": [["a", 5, 99999999, "0"], ['),
        lambda text: text.replace('"samples": [[', '"samples": [["a", Infinity, 5, "0"], ['),
        lambda text: "[" * 100_000,
        lambda text: text + " " * 3_000_000,
    ],
)
def test_a_damaged_index_is_made_again(damage: Callable[[str], str], photos: Path, tmp_path: Path) -> None:
    folder = in_shards(photos, tmp_path)
    shard = folder / "train-000000.tar"
    entries = shard_index(shard)
    index = folder / ".train-000000.tar.index.json"
    index.write_text(damage(index.read_text()))
    assert shard_index(shard) == entries


def test_shards_are_read_all_the_same_where_no_index_can_be_written(photos: Path, tmp_path: Path) -> None:
    folder = in_shards(photos, tmp_path)
    for shard in folder.glob("*.tar"):
        (folder / f".{shard.name}.index.json").mkdir()  # nothing can replace a folder by a file
    assert contents(open_source(folder)) == contents(open_source(photos))
    assert not list(folder.glob(".*.json?*"))


def test_keys_that_repeat_between_shards_are_told_apart(photos: Path, tmp_path: Path) -> None:
    source = open_source(photos)
    for split in ("a", "b"):
        write_shards(source, tmp_path / "twice", split)
    doubled = open_source(tmp_path / "twice")
    assert len({s.key for s in doubled.samples}) == 2 * len(source.samples)
    assert doubled.samples[0].key == "a-000000/ant/000.jpg"


def test_a_shard_that_became_shorter_is_a_truncated_image(photos: Path, tmp_path: Path) -> None:
    folder = in_shards(photos, tmp_path)
    source = open_source(folder)
    shard = folder / "train-000000.tar"
    os.truncate(shard, 600)
    with pytest.raises(ImageError) as caught:
        source.read(0)
    assert caught.value.code == "truncated"


@pytest.mark.parametrize("cut", [1000, 1024, 10_000])
def test_a_shard_that_is_cut_short_is_refused(cut: int, photos: Path, tmp_path: Path) -> None:
    folder = in_shards(photos, tmp_path)
    shard = folder / "train-000000.tar"
    os.truncate(shard, shard.stat().st_size - cut if cut > 5000 else cut)
    with pytest.raises(DataError, match="cut short"):
        shard_index(shard)


def test_shards_keep_labels_when_names_have_dots(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", {"ant": 1, "bee": 1})
    (root / "ant" / "000.jpg").rename(root / "ant" / "IMG.2024.01.jpg")
    write_shards(open_source(root), tmp_path / "shards")
    assert [tuple(s) for s in open_source(tmp_path / "shards").samples] == [
        ("ant/IMG_2024_01.jpg", 0),
        ("bee/000.jpg", 1),
    ]


def test_a_shard_image_without_label_is_refused(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        info = tarfile.TarInfo("1.jpg")
        info.size = 10
        tar.addfile(info, io.BytesIO(b"0123456789"))
    with pytest.raises(DataError, match=r"1\.jpg has no label; expected 1\.cls"):
        open_source(tmp_path / "x.tar")


def test_shards_take_images_by_content_and_count_photos_that_are_not_read(tmp_path: Path) -> None:
    members = {
        "1.img": picture(1),
        "1.json": b"{}",
        "2.jxl": b"x",
        "3.photo": b"\0\0\0\x0cJXL " + bytes(99),
    }
    with tarfile.open(tmp_path / "x.tar", "w") as tar:
        for name, content in {**members, "1.cls": b"0", "2.cls": b"0", "3.cls": b"1"}.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
    for _ in ("scanned", "from the index"):
        source = open_source(tmp_path / "x.tar")
        assert [s.key for s in source.samples] == ["1.img"]
        assert source.read(0) == members["1.img"]
        assert source_notes(source) == (
            f"{tmp_path / 'x.tar'}: left out 2 files that are no images: 2 JPEG XL; "
            "save photos of these kinds as JPEG or PNG",
        )
