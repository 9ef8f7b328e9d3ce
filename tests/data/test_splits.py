"""Training and validation parts: which images, and whose class indices."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from ghostclas.data import Source, open_source, open_splits
from ghostclas.data.shards import write_shards
from ghostclas.datasets.audit import audit
from ghostclas.errors import DataError, UsageError
from tests.data.trees import list_folder, make_folder, parquet_folder, picture, zip_folder


def named(source: Source) -> list[tuple[str, str]]:
    return [(s.key, source.classes[s.label]) for s in source.samples]


@pytest.mark.parametrize("val", ["val", "valid", "validation", "VAL"])
@pytest.mark.parametrize("zipped", [False, True])
def test_split_folders_are_used_as_they_are(val: str, zipped: bool, tmp_path: Path) -> None:
    root = make_folder(
        tmp_path / "set", {"train/ant": 3, "train/bee": 2, f"{val}/ant": 1, f"{val}/bee": 1, "test/bee": 2}
    )
    path = zip_folder(root, tmp_path / "set.zip", prefix="set/") if zipped else root
    splits = open_splits(path)
    assert splits.notes == ()
    assert (len(splits.train.samples), len(splits.val.samples)) == (5, 2)
    assert named(splits.val) == [("ant/000.jpg", "ant"), ("bee/000.jpg", "bee")]
    assert named(open_source(path)) == named(splits.val)
    assert named(open_source(path, "train")) == named(splits.train)
    assert named(open_source(path, "test")) == [("bee/000.jpg", "bee"), ("bee/001.jpg", "bee")]
    with pytest.raises(DataError, match="has no split 'extra'; it has"):
        open_source(path, "extra")


def test_a_validation_part_that_lacks_classes_keeps_the_indices_of_training(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train/ant": 1, "train/bee": 1, "train/cat": 1, "val/cat": 1, "val/bee": 0})
    splits = open_splits(root)
    assert [s.label for s in splits.val.samples] == [2]
    assert list(splits.val.classes) == ["ant", "bee", "cat"]
    assert splits.notes == ("no validation image of 'ant', 'bee'",)


def test_unknown_validation_classes_never_shift_indices(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train/ant": 1, "train/cat": 1, "val/Ant": 1, "val/cat": 1})
    with pytest.raises(DataError) as caught:
        open_splits(root)
    assert str(caught.value).splitlines()[:3] == [
        f"class names differ between the training images and {root / 'val'}",
        "       only in the training images: 'ant' (class 0)",
        "       only in the data:            'Ant' (class 0)",
    ]
    with pytest.raises(DataError, match="class names differ"):
        open_source(root, "val")


def test_an_empty_validation_folder_is_refused(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train/ant": 2, "train/bee": 2})
    (root / "val").mkdir()
    with pytest.raises(DataError, match="val holds no image; fill it, or remove it"):
        open_splits(root)


def test_one_class_cannot_be_trained_on_but_can_be_opened(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"ant": 2})
    assert len(open_source(root).samples) == 2
    with pytest.raises(DataError, match="one class only"):
        open_splits(root)


def test_an_empty_training_class_is_refused(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train/ant": 2, "train/bee": 2, "train/cat": 0, "val/ant": 1})
    with pytest.raises(DataError, match="no image in the class folder 'cat'"):
        open_splits(root)


@pytest.mark.parametrize("classes", [["train", "bus", "tram"], ["train", "val", "bus"], ["test", "exam"]])
def test_a_class_that_is_called_like_a_split_is_a_class(classes: list[str], tmp_path: Path) -> None:
    root = make_folder(tmp_path, dict.fromkeys(classes, 2))
    assert list(open_source(root).classes) == sorted(classes)


def test_other_folders_beside_train_and_val_are_left_alone(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train/a": 1, "train/b": 1, "val/a": 1, "val/b": 1, "unlabelled": 3})
    splits = open_splits(root)
    assert list(splits.train.classes) == ["a", "b"]
    assert splits.notes == (
        f"{root}: left out unlabelled beside the parts; "
        "only train/, val/ and test/ (or names that mean the same) are used",
    )


@pytest.mark.parametrize("other", ["test1", "dev", "eval", "unlabeled", "val_old", "trainset"])
@pytest.mark.parametrize("inside", ["", "/cat"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_part_of_unknown_name_beside_train_is_named_and_never_a_class(
    other: str, inside: str, zipped: bool, tmp_path: Path
) -> None:
    root = make_folder(tmp_path / "set", {"train/cat": 3, "train/dog": 3, other + inside: 2})
    path = zip_folder(root, tmp_path / "set.zip") if zipped else root
    splits = open_splits(path)
    assert list(splits.train.classes) == ["cat", "dog"]
    assert f"left out {other} beside the parts" in splits.notes[0]
    assert f"left out {other} beside the parts" in audit(path).notes[0]


@pytest.mark.parametrize(
    "counts",
    [
        {"train/cat": 2, "train/dog": 2, "bus": 2},
        {"cat": 2, "dog": 2, "test/cat": 1, "test/dog": 1},
        {"train/cat": 2, "train": 1, "dev/cat": 2},
    ],
)
def test_what_is_neither_clearly_a_class_nor_a_part_is_refused(
    counts: dict[str, int], tmp_path: Path
) -> None:
    root = make_folder(tmp_path, counts)
    with pytest.raises(DataError, match=r"holds (images and )?class folders, and beside it there"):
        open_splits(root)


def test_the_images_beside_the_parts_are_named(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train/a": 2, "train/b": 2, "val/a": 1, "val/b": 1, "": 1})
    assert "left out 000.jpg beside the parts" in open_splits(root).notes[0]


def test_shards_of_an_unknown_part_are_named(tmp_path: Path) -> None:
    source = open_source(make_folder(tmp_path / "set", {"ant": 2, "bee": 2}))
    for split in ("train", "val", "dev"):
        write_shards(source, tmp_path / "shards" / split, "part")
    (tmp_path / "shards/runs/x/checkpoints").mkdir(parents=True)
    splits = open_splits(tmp_path / "shards")
    assert (len(splits.train.samples), len(splits.val.samples)) == (4, 4)
    assert "left out dev beside the parts" in splits.notes[0]


def training_run(run: Path) -> Path:
    """Write what a training run leaves: two pictures among other files."""
    for name in ("config.yaml", "log.jsonl", "curves.png", "checkpoints/last.pt", "report/worst/1.png"):
        (run / name).parent.mkdir(parents=True, exist_ok=True)
        (run / name).write_bytes(picture(0, kind="PNG") if name.endswith("png") else b"x")
    return run


@pytest.mark.parametrize("zipped", [False, True])
def test_runs_and_what_else_the_package_wrote_are_never_classes(zipped: bool, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", {"ant": 2, "bee": 2})
    training_run(root / "runs/set-ghostnet_x1_0")
    for name in ("manifest.json", "weights.safetensors", "card.png"):
        (root / "mine" / name).parent.mkdir(exist_ok=True)
        (root / "mine" / name).write_bytes(picture(1, kind="PNG"))
    for name in ("log.jsonl", "bundle/manifest.json", "bundle/reference.safetensors", "report/worst/1.png"):
        (root / "last" / name).parent.mkdir(parents=True, exist_ok=True)
        (root / "last" / name).write_bytes(picture(2, kind="PNG") if name.endswith("png") else b"x")
    path = zip_folder(root, tmp_path / "set.zip") if zipped else root
    splits = open_splits(path)
    assert list(splits.train.classes) == ["ant", "bee"]
    assert splits.notes[0] == (
        "left out what earlier commands wrote: last/ (a training run), mine/ (a bundle), "
        "runs/set-ghostnet_x1_0/ (a training run)"
    )


def test_a_run_in_the_folder_of_the_images_itself_adds_no_class(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"ant": 2, "bee": 2})
    before = named(open_source(root))
    training_run(root)
    assert named(open_source(root)) == before


def test_a_folder_for_runs_without_a_run_is_no_empty_class(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"ant": 2, "bee": 2})
    (root / "runs").mkdir()
    assert list(open_splits(root).train.classes) == ["ant", "bee"]


@pytest.mark.parametrize("name", ["#recycle", "$RECYCLE.BIN", "lost+found", "@eaDir", "__MACOSX"])
@pytest.mark.parametrize("zipped", [False, True])
def test_what_systems_leave_behind_is_no_class(name: str, zipped: bool, tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", {"ant": 2, "bee": 2, name: 2})
    path = zip_folder(root, tmp_path / "set.zip") if zipped else root
    assert list(open_source(path).classes) == ["ant", "bee"]


def test_one_image_of_each_class_is_refused_at_once(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="has one image of each class, so none can be set aside"):
        open_splits(make_folder(tmp_path, {"a": 1, "b": 1}))


# ------------------------------------------------------------------ automatic


def test_the_automatic_split_is_stratified_and_leaves_nothing_out(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"a": 40, "b": 10, "c": 3, "d": 2, "e": 1})
    splits = open_splits(root, val_fraction=0.2)
    assert sorted([*splits.train.samples, *splits.val.samples]) == sorted(open_source(root).samples)
    count = Counter(s.label for s in splits.val.samples)
    assert [count[i] for i in range(5)] == [8, 2, 1, 1, 0]
    assert splits.notes == (
        "12 of 56 images were set aside for validation",
        "no validation image of 'e'",
    )


def test_a_fifth_of_few_images_is_set_aside_and_a_tenth_of_many(tmp_path: Path) -> None:
    few = make_folder(tmp_path / "few", {"a": 30, "b": 20})
    many = make_folder(tmp_path / "many", {"a": 300, "b": 200})
    assert [len(open_splits(root).val.samples) for root in (few, many)] == [10, 50]
    assert len(open_splits(few, val_fraction=0.1).val.samples) == 5


def test_the_automatic_split_depends_on_seed_and_names_only(tmp_path: Path) -> None:
    counts = {"a": 30, "b": 30}
    here, there = (make_folder(tmp_path / name, counts, seed=n) for n, name in enumerate(("x", "y")))
    zipped = zip_folder(here, tmp_path / "x.zip")
    chosen = named(open_splits(here).val)
    assert chosen == named(open_splits(there).val) == named(open_splits(zipped).val)
    assert chosen != named(open_splits(here, seed=1).val)


def test_adding_images_moves_few_of_the_others(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"a": 60, "b": 60})
    before = set(named(open_splits(root).val))
    make_folder(root, {"a": 66, "b": 66})
    after = set(named(open_splits(root).val))
    assert len(before & after) >= len(before) - 3


def test_a_test_folder_is_not_used_for_validation(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"train/a": 10, "train/b": 10, "test/a": 5})
    splits = open_splits(root)
    assert len(splits.train.samples) + len(splits.val.samples) == 20
    assert "the test images were left alone" in splits.notes[1]


@pytest.mark.parametrize("fraction", [0.0, 1.0, -0.5, float("nan")])
def test_an_impossible_fraction_is_refused(fraction: float, tmp_path: Path) -> None:
    with pytest.raises(UsageError, match="between 0 and 1"):
        open_splits(tmp_path, val_fraction=fraction)


# ------------------------------------------------------------------ other storage


def test_lists_shards_and_parquet_have_splits_too(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", {"train/ant": 3, "train/bee": 2, "val/ant": 2, "val/bee": 1})
    classes = ["ant", "bee"]
    expected = open_splits(root)
    for split in ("train", "val"):
        source = expected.train if split == "train" else expected.val
        write_shards(source, tmp_path / "flat", split)
        write_shards(source, tmp_path / "nested" / split, "part")
        hugging = "validation" if split == "val" else split
        parquet_folder(root / split, tmp_path / "hf" / "data" / f"{hugging}-00000-of-00001.parquet", classes)
    for place in ("flat", "nested", "hf"):
        splits = open_splits(tmp_path / place)
        assert named(splits.train) == named(expected.train), place
        assert named(splits.val) == named(expected.val), place
    for split in ("train", "val"):
        list_folder(root / split, root / f"{split}_list.txt", classes)
        lines = (root / f"{split}_list.txt").read_text().splitlines()
        (root / f"{split}_list.txt").write_text("".join(f"{split}/{line}\n" for line in lines))
    (root / "label_list.txt").write_text("0 ant\n1 bee\n")
    splits = open_splits(root)
    assert named(splits.val) == [(f"val/{key}", name) for key, name in named(expected.val)]
    assert [splits.train.read(i) for i in range(5)] == [expected.train.read(i) for i in range(5)]
