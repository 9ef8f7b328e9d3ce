"""Preparation of ILSVRC2012: data sets are complete or refused, and a stop loses nothing."""

from __future__ import annotations

import io
import json
import signal
import subprocess
import sys
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ghostclas.cli import main
from ghostclas.data import open_splits
from ghostclas.datasets.imagenet import Expected, Layout, prepare_imagenet
from ghostclas.errors import DataError, UsageError
from tests.data.hostile import HOSTILE, add
from tests.data.trees import picture
from tests.datasets.ilsvrc import WNIDS, Archives, inner_tar, make_archives

EXPECTED = Expected(train=12, val=6, classes=3)
NAMES = ["tench", "crane (n02012849)", "crane (n03126707)"]
LAYOUTS: list[Layout] = ["folder", "list", "shards"]


@pytest.fixture
def archives(tmp_path: Path) -> Archives:
    return make_archives(tmp_path / "archives")


def prepare(archives: Archives, output: Path, **options: Any) -> Any:
    options = {"expect": EXPECTED, "shard_images": 5, **options}
    return prepare_imagenet(archives.train, archives.val, archives.devkit, output, **options)


def tree(folder: Path) -> dict[str, bytes]:
    """Return every file; the indices of shards have times in them and may or may not have been written."""
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in folder.rglob("*")
        if path.is_file() and not path.name.endswith(".index.json")
    }


@pytest.mark.parametrize("layout", LAYOUTS)
def test_every_image_arrives_under_its_class(layout: Layout, archives: Archives, tmp_path: Path) -> None:
    done = prepare(archives, tmp_path / "out", layout=layout)
    assert (done.train, done.val, done.classes) == (12, 6, 3)
    splits = open_splits(tmp_path / "out")
    assert list(splits.train.classes) == NAMES
    names = dict(zip(sorted(WNIDS), NAMES, strict=True))
    for split, source in (("train", splits.train), ("val", splits.val)):
        expected = {
            key.removeprefix(f"{split}/"): (names[key.split("/")[1]], content)
            for key, content in archives.images.items()
            if key.startswith(f"{split}/")
        }
        found = {
            s.key.removeprefix(f"{split}/"): (source.classes[s.label], source.read(i))
            for i, s in enumerate(source.samples)
        }
        assert found == expected


def test_progress_counts_every_image_once(archives: Archives, tmp_path: Path) -> None:
    seen: list[tuple[int, int | None]] = []
    prepare(archives, tmp_path / "out", progress=lambda *now: seen.append(now))
    assert seen[-1] == (18, 18)
    assert [done for done, _ in seen] == sorted(done for done, _ in seen)


@pytest.mark.parametrize("layout", ["folder", "shards"])
@pytest.mark.parametrize("deadline", [1, 7, 12, 15])
def test_a_killed_run_goes_on_to_the_same_result(
    layout: Layout, deadline: int, archives: Archives, tmp_path: Path
) -> None:
    program = [sys.executable, str(Path(__file__).with_name("killed_prepare.py"))]
    arguments = [str(archives.train.parent), str(tmp_path / "out"), layout, str(deadline)]
    assert subprocess.run([*program, *arguments], check=False).returncode == -signal.SIGKILL
    # What is not complete does not look like a data set.
    assert not (tmp_path / "out" / "val").exists()
    assert (tmp_path / "out" / "train").exists() == (deadline > 12)
    prepare(archives, tmp_path / "out", layout=layout)
    prepare(archives, tmp_path / "whole", layout=layout)
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


def test_what_is_finished_is_not_read_again(archives: Archives, tmp_path: Path) -> None:
    prepare(archives, tmp_path / "out")
    before = {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.JPEG")}
    assert prepare(archives, tmp_path / "out").train == 12
    assert {p: p.stat().st_mtime_ns for p in (tmp_path / "out").rglob("*.JPEG")} == before


def test_a_half_written_file_is_written_again(archives: Archives, tmp_path: Path) -> None:
    half = tmp_path / "out" / ".train.part" / ".n02012849.part" / "n02012849_0.JPEG"
    half.parent.mkdir(parents=True)
    half.write_bytes(archives.images["train/n02012849/n02012849_0.JPEG"][:100])
    prepare(archives, tmp_path / "out")
    assert (
        tree(tmp_path / "out" / "train").items()
        == {
            key.removeprefix("train/"): content
            for key, content in archives.images.items()
            if key.startswith("train/")
        }.items()
    )


@pytest.mark.parametrize(
    ("expect", "message"),
    [
        (
            Expected(train=13, val=6, classes=3),
            r"12 images in .*train.tar, but 13 are expected.*--expect train=12",
        ),
        (Expected(train=12, val=7, classes=3), r"6 labels of validation images .* --expect val=6"),
        (Expected(), r"3 classes in the devkit, but 1,000 are expected"),
    ],
)
@pytest.mark.parametrize("layout", LAYOUTS)
def test_other_counts_are_refused_and_nothing_gets_its_name(
    expect: Expected, message: str, layout: Layout, archives: Archives, tmp_path: Path
) -> None:
    with pytest.raises(DataError, match=message):
        prepare(archives, tmp_path / "out", layout=layout, expect=expect)
    assert not [p for p in tmp_path.glob("out/*") if not p.name.startswith(".")]


def test_expectations_are_parsed_strictly() -> None:
    assert Expected.parse("train=10, val=2") == Expected(train=10, val=2, classes=1000)
    with pytest.raises(UsageError, match="did you mean 'train'"):
        Expected.parse("trian=10")
    with pytest.raises(UsageError, match="--expect takes"):
        Expected.parse("train=ten")


def test_a_name_that_is_a_formula_is_inert_in_the_table_and_the_same_when_it_is_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(WNIDS, "n01440764", '=1+"1"')
    made = make_archives(tmp_path / "archives")
    prepare_imagenet(made.train, made.val, made.devkit, tmp_path / "out", expect=EXPECTED)
    assert """n01440764,"'=1+""1\"""\n""" in (tmp_path / "out/classes.csv").read_text(encoding="utf-8")
    assert '=1+"1"' in open_splits(tmp_path / "out").train.classes


def test_a_class_that_is_missing_is_named(archives: Archives, tmp_path: Path) -> None:
    with tarfile.open(archives.train, "w") as tar:
        for wnid in list(WNIDS)[:2]:
            add(tar, f"{wnid}.tar", inner_tar({f"{wnid}_0.JPEG": picture(0)}))
    with pytest.raises(DataError, match="holds no archive of the class n03126707"):
        prepare(archives, tmp_path / "out")


def test_a_validation_image_that_the_devkit_does_not_label_is_refused(
    archives: Archives, tmp_path: Path
) -> None:
    with tarfile.open(archives.val, "a") as tar:
        add(tar, "ILSVRC2012_val_00000007.JPEG", picture(0))
    with pytest.raises(DataError, match="none of the 6 images that the devkit labels"):
        prepare(archives, tmp_path / "out")


def test_wrong_devkits_are_refused(archives: Archives, tmp_path: Path) -> None:
    with tarfile.open(archives.devkit, "w:gz") as tar:
        add(tar, "kit/data/meta.mat", b"not a table")
    with pytest.raises(DataError, match=r"holds no data/ILSVRC2012_validation_ground_truth.txt"):
        prepare(archives, tmp_path / "out")
    with tarfile.open(archives.devkit, "w:gz") as tar:
        add(tar, "kit/data/meta.mat", b"not a table")
        add(tar, "kit/data/ILSVRC2012_validation_ground_truth.txt", b"1\n")
    with pytest.raises(DataError, match=r"meta\.mat is no table of synsets"):
        prepare(archives, tmp_path / "out")


# ------------------------------------------------------------------ hostile archives


@pytest.mark.parametrize("case", HOSTILE)
@pytest.mark.parametrize("where", ["outer", "inner", "val"])
def test_hostile_members_stop_prepare(case: str, where: str, archives: Archives, tmp_path: Path) -> None:
    name, kind, link, _ = HOSTILE[case]
    content = b"evil" if kind == tarfile.REGTYPE else b""
    if where == "inner":
        inner = io.BytesIO(inner_tar({"good.JPEG": b"good"}))
        with tarfile.open(fileobj=inner, mode="a") as tar:
            add(tar, name, content, kind, link)
        with tarfile.open(archives.train, "w") as tar:
            add(tar, "n01440764.tar", inner.getvalue())
    else:
        with tarfile.open(archives.val if where == "val" else archives.train, "a") as tar:
            add(tar, name, content, kind, link)
    before = tree(archives.train.parent)
    with pytest.raises(DataError):
        prepare(archives, tmp_path / "out")
    assert tree(archives.train.parent) == before
    assert {p.name for p in tmp_path.iterdir()} == {"archives", "out"}
    assert not any(path.is_symlink() for path in tmp_path.rglob("*"))


# ------------------------------------------------------------------ command line


def test_the_command_prepares_and_says_what_is_next(
    archives: Archives, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    arguments = ["data", "prepare", "imagenet", "--train-tar", str(archives.train), "--val-tar"]
    arguments += [str(archives.val), "--devkit", str(archives.devkit), "--output", str(tmp_path / "out")]
    assert main([*arguments, "--expect", "train=12,val=6,classes=3"]) == 0
    out, err = capfd.readouterr()
    assert "12 training and 6 validation images of 3 classes" in out
    assert f"next: ghostclas train --data {tmp_path / 'out'}" in err
    assert main([*arguments, "--expect", "train=12,val=6,classes=3", "--json"]) == 0
    assert json.loads(capfd.readouterr().out)["train"] == 12
    assert main(arguments) == 3
    assert "3 classes in the devkit, but 1,000 are expected" in capfd.readouterr().err
    assert main([*arguments, "--format", "shard"]) == 2
    assert "did you mean 'shards'" in capfd.readouterr().err
    arguments[2] = "cifar"
    assert main(arguments) == 2
    assert "only 'imagenet'" in capfd.readouterr().err
