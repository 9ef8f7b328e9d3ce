"""Every form of storage gives the same samples; classes, and what is refused."""

from __future__ import annotations

import io
import multiprocessing
import os
import pickle
import tarfile
import zipfile
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import torch

from ghostclas import imaging
from ghostclas.data import Sample, Source, Subset, align_source, open_source, open_splits, source_notes
from ghostclas.data.labels import read_label_file
from ghostclas.data.parquet import ParquetSource
from ghostclas.data.shards import expand_braces, shard_index, write_shards
from ghostclas.data.source import Samples
from ghostclas.data.tree import TreeSource
from ghostclas.errors import DataError, ImageError
from ghostclas.training.input.images import Batch, TrainingImages
from ghostclas.training.input.loader import TrainingLoader
from ghostclas.training.input.sampling import ShardedBatches, epoch_indices
from ghostclas.training.input.transforms import AugmentConfig
from tests.data.trees import list_folder, make_folder, parquet_folder, picture, zip_folder

CLASSES = ["ant", "bee", "cat"]
COUNTS = {"ant": 4, "bee": 3, "cat": 5}


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    return make_folder(tmp_path / "photos", COUNTS)


def in_zip(photos: Path, place: Path) -> Path:
    return zip_folder(photos, place / "photos.zip")


def in_wrapped_zip(photos: Path, place: Path) -> Path:
    return zip_folder(photos, place / "wrapped.zip", prefix="photos-v2/")


def in_list(photos: Path, place: Path) -> Path:
    (place / "label_list.txt").write_text("0 ant\n1 bee\n2 cat\n")
    # The list lies elsewhere: its paths begin with the name of the folder.
    listed = list_folder(photos, place / "images.txt", CLASSES)
    (place / "photos").symlink_to(photos, target_is_directory=True)
    return listed


def in_shards(photos: Path, place: Path) -> Path:
    write_shards(open_source(photos), place / "shards", size=5)
    return place / "shards"


def in_parquet(photos: Path, place: Path) -> Path:
    return parquet_folder(photos, place / "photos.parquet", CLASSES)


STORAGE = [in_zip, in_wrapped_zip, in_list, in_shards, in_parquet]


def stored(store: Callable[[Path, Path], Path], photos: Path, tmp_path: Path) -> Source:
    """Store ``photos`` that way and open what was stored."""
    place = tmp_path / "place"
    place.mkdir()
    path = store(photos, place)
    return open_source(path, root=photos) if store is in_list else open_source(path)


def contents(source: Source) -> list[tuple[str, str, bytes]]:
    return [(s.key, source.classes[s.label], source.read(i)) for i, s in enumerate(source.samples)]


@pytest.mark.parametrize("store", STORAGE)
def test_the_same_images_are_the_same_samples_in_every_storage(
    store: Callable[[Path, Path], Path], photos: Path, tmp_path: Path
) -> None:
    source = stored(store, photos, tmp_path)
    assert contents(source) == contents(open_source(photos))
    assert list(source.classes) == CLASSES


def batches(source: Source) -> list[Batch]:
    images = TrainingImages(source, AugmentConfig(policy="trivialaugment"), 32)
    indices = epoch_indices(np.array([sample.label for sample in source.samples]), seed=0, epoch=0)
    return list(TrainingLoader(workers=0, device="cpu").epoch(images, ShardedBatches(indices, 5)))


@pytest.mark.parametrize("store", STORAGE)
def test_the_same_images_are_the_same_batches_in_every_storage(
    store: Callable[[Path, Path], Path], photos: Path, tmp_path: Path
) -> None:
    source = stored(store, photos, tmp_path)
    found, expected = batches(source), batches(open_source(photos))
    assert len(found) == 3
    for mine, theirs in zip(found, expected, strict=True):
        assert torch.equal(mine.images, theirs.images)
        assert torch.equal(mine.labels, theirs.labels)


# Python 3.12 and later warn of forks in a process that has threads; workers of a loader are forked just so.
@pytest.mark.filterwarnings("ignore:.*use of fork.*:DeprecationWarning")
@pytest.mark.parametrize("store", STORAGE)
def test_a_source_can_be_pickled_and_read_by_threads_and_forks(
    store: Callable[[Path, Path], Path], photos: Path, tmp_path: Path
) -> None:
    source = stored(store, photos, tmp_path)
    expected = [source.read(i) for i in range(len(source.samples))]
    copy = pickle.loads(pickle.dumps(source))
    indices = list(range(len(expected))) * 20
    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(copy.read, indices)) == [expected[i] for i in indices]
    if store is in_parquet:  # Arrow's own threads do not survive a fork; its users start workers by spawn
        return
    with multiprocessing.get_context("fork").Pool(4) as workers:
        assert workers.map(source.read, indices, chunksize=1) == [expected[i] for i in indices]


def test_samples_behave_like_a_list_of_pairs() -> None:
    pairs = [("a/1.jpg", 0), ("b/é.png", 1), (os.fsdecode(b"b/\xff.png"), 1)]
    samples = Samples(pairs)
    assert list(samples) == [Sample(*pair) for pair in pairs]
    assert samples[-1] == Sample(*pairs[-1])
    assert samples[1:] == Samples(pairs[1:])
    assert samples == pickle.loads(pickle.dumps(samples))
    assert samples != Samples(pairs[:2])
    assert samples.labels.tolist() == [0, 1, 1]
    with pytest.raises(IndexError):
        samples[3]
    with pytest.raises(ValueError, match="read-only"):
        samples.labels[0] = 5


def test_images_lie_at_any_depth_and_other_files_are_counted(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"ant": 1, "bee/small/brown": 2, ".git/objects": 1})
    (root / "bee" / "notes.txt").write_text("x")
    (root / "bee" / ".hidden.jpg").write_text("x")
    (root / "loose.JPG").write_bytes(picture(0))
    (root / "ant" / "upper.JPEG").write_bytes(picture(1))
    source = open_source(root)
    assert [s.key for s in source.samples] == [
        "ant/000.jpg",
        "ant/upper.JPEG",
        "bee/small/brown/000.jpg",
        "bee/small/brown/001.jpg",
    ]
    assert isinstance(source, TreeSource)
    assert dict(source.ignored) == {".txt": 1, "outside the class folders": 1}
    assert source_notes(source) == (
        f"{root}: left out 1 file that is no image: 1 .txt",
        f"{root}: left out 1 image outside the class folders",
    )


NAMES_OF_IMAGES = ["scan", "a.jpg_large", "b.mpo", "c.pjpeg", "d.jpg?w=3", "e.2024", "f.pnm"]


@pytest.mark.parametrize("zipped", [False, True])
def test_content_decides_where_the_name_does_not(zipped: bool, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", {"ant": 0, "bee": 1})
    for name in NAMES_OF_IMAGES:
        (root / "ant" / name).write_bytes(picture(1, kind="PPM" if name == "f.pnm" else "JPEG"))
    (root / "ant" / "README").write_text("BMW, and P3 of other brands")
    (root / "ant" / "x.heic").write_bytes(b"any")
    (root / "bee" / "y").write_bytes(b"\0\0\0\x18ftypheic" + bytes(99))
    path = zip_folder(root, tmp_path / "set.zip") if zipped else root
    source = open_source(path)
    assert [s.key for s in source.samples] == [
        *(f"ant/{name}" for name in sorted(NAMES_OF_IMAGES)),
        "bee/000.jpg",
    ]
    for index in range(len(source.samples)):
        imaging.decode(source.read(index))
    assert source_notes(align_source(source, ["bee", "ant"])) == (
        f"{path}: left out 3 files that are no images: 2 HEIC, 1 no extension; "
        "save photos of these kinds as JPEG or PNG",
    )


def test_only_files_of_unknown_extension_are_opened(photos: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (photos / "ant/notes.txt").write_text("x")
    (photos / "ant/scan").write_bytes(picture(1))
    opened: list[str] = []
    monkeypatch.setattr("ghostclas.data.folder.read_head", lambda path: opened.append(path.name) or b"")
    open_source(photos)
    assert opened == ["scan"]


def test_a_class_of_photos_that_are_not_read_says_so(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"ant": 1, "bee": 0})
    (root / "bee/1.heic").touch()
    with pytest.raises(
        DataError, match=r"class folder 'bee' \(left out 1 file that is no image: 1 HEIC; save"
    ):
        open_source(root)


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
    assert [called in note for note in source_notes(source)] == ([True] if called else [])


def test_a_linked_folder_is_followed_and_a_loop_is_refused(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "root", {"ant": 1})
    make_folder(tmp_path / "far", {"": 2})
    (root / "bee").symlink_to(tmp_path / "far", target_is_directory=True)
    assert len(open_source(root).samples) == 3
    (root / "bee" / "again").symlink_to(root, target_is_directory=True)
    with pytest.raises(DataError, match="link to a folder that contains it"):
        open_source(root)


def test_a_missing_image_is_an_image_error_when_it_is_read(photos: Path) -> None:
    source = open_source(photos)
    (photos / "ant" / "000.jpg").unlink()
    with pytest.raises(ImageError) as caught:
        source.read(0)
    assert caught.value.code == "not_found"


# ------------------------------------------------------------------ class names


@pytest.mark.parametrize("header", ["", "wnid,name\n"])
@pytest.mark.parametrize("place", ["root", "parent", "zip"])
def test_classes_csv_names_the_classes(header: str, place: str, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", {"n1": 1, "n2": 1, "n3": 1})
    names = header + 'n2,"bee, honey"\nn1,crane\nn3,crane\n'
    (root if place != "parent" else tmp_path).joinpath("classes.csv").write_text(names)
    path = zip_folder(root, tmp_path / "set.zip") if place == "zip" else root
    assert list(open_source(path).classes) == ["crane (n1)", "bee, honey", "crane (n3)"]


def test_a_name_shared_by_two_classes_is_the_same_in_a_split_with_only_one_of_them(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train/n1": 1, "train/n2": 1, "val/n2": 1})
    (root / "classes.csv").write_text("n1,crane\nn2,crane\n")
    splits = open_splits(root)
    assert [splits.val.classes[s.label] for s in splits.val.samples] == ["crane (n2)"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"ant\n", "line 1: expected folder,name"),
        (b"ant,a\nant,b\n", "line 2: folder 'ant' is named both 'a' and 'b'"),
        (b"other,a\n", "names none of the class folders"),
        (b"ant,\xff\n", "not a UTF-8 table"),
        (b"ant,bee\n", "several classes have the same name: 'bee'"),
    ],
)
def test_a_wrong_classes_csv_is_refused(content: bytes, message: str, photos: Path) -> None:
    (photos / "classes.csv").write_bytes(content)
    with pytest.raises(DataError, match=message):
        open_source(photos)


def test_folders_copied_through_macos_stay_the_same_class(tmp_path: Path) -> None:
    composed, decomposed = "caf\u00e9", "cafe\u0301"
    a = open_source(make_folder(tmp_path / "a", {composed: 1, "x": 1}))
    b = open_source(make_folder(tmp_path / "b", {decomposed: 1, "x": 1}))
    assert list(a.classes) == list(b.classes) == [composed, "x"]


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("1 bee\n0 ant, red\n", ("ant, red", "bee")),
        ("ant\nbee\n", ("ant", "bee")),
        ("3 musketeers\n1 ring\n", ("3 musketeers", "1 ring")),
        ("0 crane\n1 crane\n", ("crane (0)", "crane (1)")),
    ],
)
def test_label_files_are_numbered_or_plain(text: str, names: tuple[str, ...], tmp_path: Path) -> None:
    (tmp_path / "labels.txt").write_text(text)
    assert read_label_file(tmp_path / "labels.txt") == names


def test_rows_of_classes_csv_without_a_folder_are_told(photos: Path) -> None:
    (photos / "classes.csv").write_text("folder,name\nant,Ant\nBee,Bee\nwasp,Wasp\n", encoding="utf-8")
    source = open_source(photos)
    assert list(source.classes) == ["Ant", "bee", "cat"]
    assert source_notes(source) == (f"{photos}/classes.csv: 2 rows have no folder: 'Bee', 'wasp'",)


def test_numbers_that_are_no_indices_do_not_make_a_million_classes(photos: Path) -> None:
    listed = photos / "list.txt"
    listed.write_text("ant/000.jpg 3\nbee/000.jpg 1000234\n")
    with pytest.raises(DataError, match="uses the label 1000234, but only 2 different labels"):
        open_source(listed)
    listed.write_text("ant/000.jpg 3\nbee/000.jpg 999\n")
    assert len(open_source(listed).classes) == 1000


def test_a_list_may_have_a_byte_order_mark_and_names_with_any_separator(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"ant": 1, "bee\u2028": 1})
    (root / "list.txt").write_text("\ufeffant/000.jpg\t0\nbee\u2028/000.jpg\t1\n", encoding="utf-8")
    assert [s.key for s in open_source(root / "list.txt").samples] == ["ant/000.jpg", "bee\u2028/000.jpg"]


# ------------------------------------------------------------------ aligning


def test_align_source_remaps_by_name(photos: Path) -> None:
    source = open_source(photos)
    aligned = align_source(source, ["zebra", "cat", "bee", "ant"])
    assert [aligned.classes[s.label] for s in aligned.samples] == [
        source.classes[s.label] for s in source.samples
    ]
    assert list(aligned.classes) == ["zebra", "cat", "bee", "ant"]
    assert aligned.read(2) == source.read(2)
    assert align_source(source, CLASSES) is source


def test_a_subset_of_an_aligned_source_keeps_labels_and_images(photos: Path) -> None:
    source = open_source(photos)
    subset = Subset(align_source(source, ["cat", "bee", "ant"]), np.array([11, 0]))
    assert [s.label for s in subset.samples] == [0, 2]
    assert [subset.read(0), subset.read(1)] == [source.read(11), source.read(0)]


def test_differing_class_names_are_told_with_their_places(photos: Path) -> None:
    with pytest.raises(DataError) as caught:
        align_source(open_source(photos), ["Ant", "bee", "cat"])
    assert str(caught.value).splitlines() == [
        f"class names differ between the model and {photos}",
        "       only in the model: 'Ant' (class 0)",
        "       only in the data:  'ant' (class 0)",
        "       rename the classes of the data, or name a model that knows them: --model runs/...",
    ]


# ------------------------------------------------------------------ refusals


def test_useless_paths_are_told_apart(tmp_path: Path) -> None:
    def refused(path: Path) -> str:
        with pytest.raises(DataError) as caught:
            open_source(path)
        return str(caught.value)

    assert "no such folder or file" in refused(tmp_path / "nowhere")
    (tmp_path / "empty").mkdir()
    assert "is empty; expected one folder of images for each class" in refused(tmp_path / "empty")
    (tmp_path / "photo.jpg").write_bytes(picture(0))
    assert "is a file; expected a folder" in refused(tmp_path / "photo.jpg")
    flat = make_folder(tmp_path / "flat", {"": 3})
    assert "holds 3 images but no class folders" in refused(flat)
    (tmp_path / "texts" / "a").mkdir(parents=True)
    (tmp_path / "texts" / "a" / "b.txt").write_text("")
    assert "only other files (.txt: 1)" in refused(tmp_path / "texts")
    hollow = make_folder(tmp_path / "hollow", {"ant": 1, "bee": 1, "cat": 0})
    assert "no image in the class folder 'cat'" in refused(hollow)
    (tmp_path / "fake.zip").write_text("hello")
    assert "cannot read the archive" in refused(tmp_path / "fake.zip")
    (tmp_path / "fake.parquet").write_text("hello")
    assert "as Parquet" in refused(tmp_path / "fake.parquet")
    (tmp_path / "fake.tar").write_text("hello" * 1000)
    assert "damaged, cut short or no .tar" in refused(tmp_path / "fake.tar")


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


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "lists no image"),
        ("ant/000.jpg\n", "line 1: expected a path and a label"),
        ("ant/000.jpg 0,1,0\n", "multi-label"),
        ("nowhere/000.jpg 0\n", "there is no file"),
        ("ant/000.jpg 7\n", "uses label 7, but there are 3 class names"),
        ("ant/000.jpg wasp\n", "labels that are no class names: 'wasp'"),
    ],
)
def test_a_wrong_list_is_refused(text: str, message: str, photos: Path) -> None:
    (photos / "classes.txt").write_text("ant\nbee\ncat\n")
    (photos / "list.txt").write_text(text)
    with pytest.raises(DataError, match=message):
        open_source(photos / "list.txt")


def test_lists_may_have_blanks_in_paths_and_names_after_a_tab(tmp_path: Path) -> None:
    make_folder(tmp_path, {"my photos": 2})
    (tmp_path / "list.txt").write_text("my photos/000.jpg 1\n\nmy photos/001.jpg 0\n")
    assert [tuple(s) for s in open_source(tmp_path / "list.txt").samples] == [
        ("my photos/000.jpg", 1),
        ("my photos/001.jpg", 0),
    ]
    (tmp_path / "list.txt").write_text("my photos/000.jpg\tgreat ape\nmy photos/001.jpg\tant\n")
    source = open_source(tmp_path / "list.txt")
    assert list(source.classes) == ["ant", "great ape"]
    assert [s.label for s in source.samples] == [1, 0]


# ------------------------------------------------------------------ shards


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


@pytest.mark.parametrize(
    "damage",
    [
        lambda text: text[: len(text) // 2],
        lambda text: "[]",
        lambda text: text.replace('"samples": [[', '"samples": [["a", -1, 5, "0"], ['),
        lambda text: text.replace('"samples": [[', '"samples": [["a", 5, 99999999, "0"], ['),
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
        "2.heic": b"x",
        "3.photo": b"\0\0\0\x18ftypheic" + bytes(99),
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
            f"{tmp_path / 'x.tar'}: left out 2 files that are no images: 2 HEIC; "
            "save photos of these kinds as JPEG or PNG",
        )


# ------------------------------------------------------------------ parquet


def test_parquet_reads_one_row_group_at_a_time_and_keeps_few(
    photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ghostclas.data.parquet.CACHE_BYTES", 1)
    source = open_source(in_parquet(photos, tmp_path))
    assert isinstance(source, ParquetSource)
    order = np.random.default_rng(0).permutation(len(source.samples))
    folder = open_source(photos)
    for index in order:
        assert source.read(int(index)) == folder.read(int(index))
        assert len(source._cache) == 1


def test_parquet_without_image_and_label_columns_names_what_it_has(tmp_path: Path) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    pq.write_table(pa.table({"text": ["a"], "score": [1]}), tmp_path / "x.parquet")
    with pytest.raises(DataError, match="has the columns text, score"):
        open_source(tmp_path / "x.parquet")
