"""Mining takes the most probable images, and finds every validation image in the pool."""

from __future__ import annotations

import json
import re
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from ghostclas import imaging
from ghostclas.data import open_splits
from ghostclas.data.pool import UNLABELLED, open_pool
from ghostclas.data.source import Source
from ghostclas.datasets.audit import BLANK_DETAIL
from ghostclas.datasets.phash import perceptual_hashes
from ghostclas.errors import DataError
from ghostclas.ssld import MineConfig, TeacherConfig, mine, open_cache, open_teacher
from ghostclas.ssld.mining import Survey, classes_of, open_mined, select_images, survey
from ghostclas.ssld.mining_page import write_page
from tests.data.trees import make_folder, parquet_folder, picture
from tests.fresh import modules_after
from tests.real_data import needs_tiny
from tests.ssld.mined import mined
from tests.ssld.web_images import CHANGES, tiny_members, unpack


def test_the_half_without_training_imports_no_torch() -> None:
    there = modules_after("from ghostclas.ssld import mine, mining_page, open_teacher, score")
    assert there & {"torch", "timm", "cv2"} == set()


def test_each_class_takes_its_likeliest_images_down_to_the_floor(
    colours: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    found = mined(colours, tmp_path / "cache", top_k=2, floor=0.5)
    keys = {found.classes[one.label]: [] for one in found.taken}  # type: dict[str, list[str]]
    for one in found.taken:
        keys[found.classes[one.label]].append(Path(found.pool.samples[one.image].key).stem)
    assert {name: sorted(numbers) for name, numbers in keys.items()} == {
        "red": ["0", "1"],
        "green": ["5", "6"],
        "blue": ["8"],
    }
    assert dict(zip(found.classes, found.counts.tolist(), strict=True)) == {"blue": 1, "green": 2, "red": 2}
    assert found.passed_over == 4
    assert found.teacher_top1 == 100
    surer = mined(colours, tmp_path / "cache", top_k=2, floor=0.9)
    assert 0 < len(surer.taken) < len(found.taken)
    assert min(one.probability for one in surer.taken) >= 0.9


def test_an_image_that_several_classes_take_is_listed_once_under_its_likeliest(
    colours: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    found = mined(colours, tmp_path / "cache", top_k=100)
    assert [one.image for one in found.taken] == list(range(9))
    assert found.counts.sum() == 9
    assert dict(zip(found.classes, found.counts.tolist(), strict=True)) == {"blue": 1, "green": 3, "red": 5}


def test_the_list_reads_back_with_the_teachers_classes(
    colours: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    found = mined(colours, tmp_path / "cache", top_k=2, floor=0.5)
    path = found.write(tmp_path / "out")
    picked = open_mined(path, found.classes)
    assert [picked.classes[sample.label] for sample in picked.samples] == [
        "red",
        "red",
        "green",
        "green",
        "blue",
    ]
    assert picked.read(0) == (colours[2] / picked.samples[0].key).read_bytes()
    lines = (tmp_path / "out" / "mined_list.txt").read_text().splitlines()
    assert lines[0] == "any/depth/0.png\t2"
    with pytest.raises(DataError, match="mined for other classes"):
        open_mined(path, ("red", "green"))
    (colours[2] / picked.samples[0].key).unlink()
    with pytest.raises(DataError, match=r"1 images of .* are no longer in"):
        open_mined(path, found.classes)


def test_duplicates_are_left_out_with_the_reason_and_shown(
    colours: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    _, data, pool = colours
    (pool / "a_val.png").write_bytes((data / "val" / "red" / "0.png").read_bytes())
    (pool / "b_train.png").write_bytes((data / "train" / "blue" / "0.png").read_bytes())
    (pool / "c_again.png").write_bytes((pool / "any" / "depth" / "3.png").read_bytes())
    (pool / "d.jpg").write_bytes(picture(3, (80, 64)))
    Image.open(pool / "d.jpg").resize((120, 96), Image.Resampling.BICUBIC).save(pool / "e.jpg", quality=80)
    found = mined(colours, tmp_path / "cache")
    document = found.to_json()
    assert {(one["file"], one["where"], one["duplicate"], one["why"]) for one in document["removed"]} == {
        ("a_val.png", "val", "red/0.png", "same bytes"),
        ("b_train.png", "train", "blue/0.png", "same bytes"),
        ("c_again.png", "pool", "any/depth/3.png", "same bytes"),
        ("e.jpg", "pool", "d.jpg", "same picture"),
    }
    page = write_page(found, tmp_path / "report").read_text()
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", page)
    for name in ("a_val.png", "b_train.png", "c_again.png", "e.jpg"):
        assert name in page
    assert "Left out: duplicates in val" in page


def test_an_empty_pool_is_refused(colours: tuple[Path, Path, Path], tmp_path: Path) -> None:
    (tmp_path / "nothing").mkdir()
    (tmp_path / "nothing" / "notes.txt").write_text("no image")
    with pytest.raises(DataError, match=r"the pool .*nothing holds no image; expected image files"):
        mined((colours[0], colours[1], tmp_path / "nothing"), tmp_path / "cache")


def test_a_pool_of_which_nothing_is_left_says_where_it_went(
    colours: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=r"nothing of the pool .*no class took one of the other 9 at floor=1"):
        mined(colours, tmp_path / "cache", floor=1.0)


def test_broken_images_of_the_pool_are_listed_and_skipped_up_to_the_threshold(
    colours: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    pool = colours[2]
    (pool / "cut.png").write_bytes(next((pool / "any").rglob("*.png")).read_bytes()[:60])
    (pool / "text.jpg").write_bytes(b"<html>not found</html>")
    found = mined(colours, tmp_path / "cache", max_bad=0.2)
    assert sorted(found.to_json()["unread"]) == ["cut.png", "text.jpg"]
    assert len(found.taken) == 9
    with pytest.raises(DataError) as caught:
        mined(colours, tmp_path / "cache", max_bad=0.1)
    assert "2 of the 11 images of" in str(caught.value)
    assert "more than max_bad=0.1 allows" in str(caught.value)
    assert "text.jpg: the image is not an image" in str(caught.value)


def test_a_pool_is_any_folder_list_or_archive_without_labels(tmp_path: Path) -> None:
    for name in ("a.jpg", "deep/er/b.jpg", "with blank.jpg"):
        (tmp_path / "p" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "p" / name).write_bytes(picture(len(name)))
    (tmp_path / "p" / "list.txt").write_text("a.jpg 3\nwith blank.jpg\ndeep/er/b.jpg\t1\n")
    folder, listed = open_pool(tmp_path / "p"), open_pool(tmp_path / "p" / "list.txt")
    assert [sample.key for sample in folder.samples] == ["a.jpg", "deep/er/b.jpg", "with blank.jpg"]
    assert [sample.key for sample in listed.samples] == ["a.jpg", "with blank.jpg", "deep/er/b.jpg"]
    assert {sample.label for sample in folder.samples} == {UNLABELLED}
    assert listed.read(2) == folder.read(1)
    make_folder(tmp_path / "labelled", {"ant": 2, "bee": 1})
    parquet_folder(tmp_path / "labelled", tmp_path / "rows" / "train-0.parquet", ["ant", "bee"])
    rows = open_pool(tmp_path / "rows")
    assert {sample.label for sample in rows.samples} == {UNLABELLED}
    assert rows.read(2) == (tmp_path / "labelled" / "bee" / "000.jpg").read_bytes()
    with pytest.raises(DataError, match="no such folder or file"):
        open_pool(tmp_path / "nowhere")


def hidden_copies(root: Path, val: int, others: int) -> tuple[Path, Path, dict[str, str]]:
    """Make a data set and a pool that holds every validation image in every changed form.

    A copy that brightening left blank is not made: it shows nothing that it could be told by.
    """
    names = tiny_members("val")
    step = len(names) // val
    chosen = unpack(names[::step][:val], root / "data")
    train = tiny_members("train")
    for path in chosen:
        wnid = path.parent.name
        unpack([name for name in train if name.split("/")[1] == wnid][:2], root / "data")
    hidden = {}
    draw = np.random.default_rng(0)
    (root / "pool").mkdir()
    for number, path in enumerate(chosen):
        image = Image.open(path).convert("RGB")
        for change, make in CHANGES.items():
            name = f"copy-{number}-{change}.jpg"
            copy = make(image, draw)
            if perceptual_hashes(imaging.decode(copy)).detail >= BLANK_DETAIL:
                (root / "pool" / name).write_bytes(copy)
                hidden[name] = change
    rest = train[:: max(1, len(train) // others)][:others]
    for number, path in enumerate(unpack(rest, root / "rest")):
        (root / "pool" / f"other-{number}.webp").write_bytes(path.read_bytes())
    return root / "data", root / "pool", hidden


def find_hidden(tmp_path: Path, val: int, others: int) -> tuple[dict[str, float], list[str]]:
    """Return the recall of each change, and the images that were wrongly taken for validation images."""
    data, pool, hidden = hidden_copies(tmp_path, val, others)
    teacher = open_teacher(TeacherConfig(model="default"), threads=1)
    found = mine(
        teacher,
        open_splits(data),
        pool,
        open_cache(teacher, tmp_path / "cache"),
        MineConfig(),
    )
    removed = {found.pool.samples[one.image].key for one in found.removed if one.where == "val"}
    kinds = Counter(hidden.values())
    assert min(kinds.values()) >= 0.95 * val
    recall = {kind: sum(hidden.get(key) == kind for key in removed) / kinds[kind] for kind in kinds}
    wrong = sorted(removed - hidden.keys())
    print(json.dumps({"recall": recall, "false removals": wrong, "others": others}))
    return recall, wrong


@needs_tiny
def test_copies_of_validation_images_are_found(tmp_path: Path) -> None:
    recall, wrong = find_hidden(tmp_path, val=10, others=40)
    assert recall == dict.fromkeys(CHANGES, 1.0)
    assert wrong == []


@needs_tiny
@pytest.mark.slow
def test_every_copy_in_a_larger_pool_is_found_and_nothing_else(tmp_path: Path) -> None:
    recall, wrong = find_hidden(tmp_path, val=40, others=400)
    assert recall == dict.fromkeys(CHANGES, 1.0)
    assert wrong == []


class CountedSource:
    """A source that counts how often each of its images is read."""

    def __init__(self, source: Source) -> None:
        self.source, self.reads = source, Counter[str]()
        self.location, self.classes, self.samples = source.location, source.classes, source.samples

    def read(self, index: int) -> bytes:
        self.reads[self.samples[index].key] += 1
        return self.source.read(index)


@pytest.mark.parametrize("cached", [False, True], ids=["nothing known", "all answers cached"])
def test_scoring_and_mining_read_each_image_once(
    colours: tuple[Path, Path, Path], tmp_path: Path, cached: bool
) -> None:
    bundle, data, pool = colours
    (pool / "leak.png").write_bytes((data / "val" / "red" / "0.png").read_bytes())
    teacher = open_teacher(TeacherConfig(model=str(bundle)), threads=1)
    cache = open_cache(teacher, tmp_path / "cache")
    splits = open_splits(data)
    config = MineConfig(neighbours=3)
    if cached:
        survey(teacher, splits, open_pool(pool), cache, config)
    train, val, unlabelled = (CountedSource(each) for each in (splits.train, splits.val, open_pool(pool)))
    counted = replace(splits, train=train, val=val)
    found = survey(teacher, counted, unlabelled, cache, config, threads=2)
    mined = select_images(found, counted, pool, teacher.name, classes_of(teacher, splits, None), config)
    assert [mined.pool.samples[one.image].key for one in mined.removed] == ["leak.png"]
    for source in (train, val, unlabelled):
        assert source.reads == dict.fromkeys((sample.key for sample in source.samples), 1), source.location


def test_processes_that_share_the_work_find_what_one_finds(
    colours: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    bundle, data, pool = colours
    for number in range(2):
        (pool / f"leak{number}.png").write_bytes((data / "val" / "red" / f"{number}.png").read_bytes())
    (pool / "broken.png").write_bytes(b"no image")
    teacher = open_teacher(TeacherConfig(model=str(bundle)), threads=1)
    splits, config = open_splits(data), MineConfig(neighbours=3, max_bad=0.2)
    alone = survey(teacher, splits, open_pool(pool), open_cache(teacher, tmp_path / "alone"), config)
    meeting = threading.Barrier(2)
    brought: list[list[object]] = [[], []]

    def process(rank: int) -> Survey:
        def gather(items: list[object]) -> list[object]:
            brought[rank] = items
            meeting.wait(60)
            everything = [*brought[0], *brought[1]]
            meeting.wait(60)
            return everything

        cache = open_cache(teacher, tmp_path / "shared")
        return survey(teacher, splits, open_pool(pool), cache, config, share=(rank, 2), gather=gather)

    with ThreadPoolExecutor(2) as executor:
        for found in executor.map(process, (0, 1)):
            assert found.in_val == alone.in_val
            assert found.pool.bad == alone.pool.bad
            np.testing.assert_array_equal(found.pool.keys, alone.pool.keys)
            readable = found.pool.readable
            np.testing.assert_array_equal(found.pool.logits(readable), alone.pool.logits(readable))


@pytest.mark.parametrize(
    "change",
    [
        {"pool": 5},
        {"pool": None},
        {"classes": 7},
        {"classes": [["red"]]},
        {"classes": None},
        {"images": [{"file": ["a"], "class": "red"}]},
        {"images": [{"file": "a", "class": {}}]},
        {"images": [{"file": "\ud800", "class": "red"}]},
        {"images": 1},
        {"pool": ""},
    ],
)
def test_a_list_that_somebody_changed_is_refused_in_one_line(
    change: dict[str, object], tmp_path: Path
) -> None:
    document: dict[str, object] = {"pool": str(tmp_path), "classes": ["red"], "images": []}
    file = tmp_path / "mined.json"
    file.write_text(json.dumps(document | change), encoding="utf-8")
    with pytest.raises(DataError, match=r"^[^\n]*mined\.json is not a list that ghostclas ssld mine wrote$"):
        open_mined(file, ("red",))


def test_a_list_that_is_nested_too_deeply_is_refused_in_one_line(tmp_path: Path) -> None:
    file = tmp_path / "mined.json"
    file.write_text("[" * 100_000, encoding="utf-8")
    with pytest.raises(DataError, match=r"is not a list that ghostclas ssld mine wrote$"):
        open_mined(file, ("red",))
