"""ILSVRC2012's archives become data sets: complete, or refused; a stop loses nothing."""

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
from ghostclas.data.archives import extract, open_tar, regular_members
from ghostclas.datasets.imagenet import Expected, Layout, prepare_imagenet
from ghostclas.errors import DataError, UsageError
from tests.data.trees import picture
from tests.datasets.ilsvrc import WNIDS, Archives, add, inner_tar, make_archives

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
    assert not splits.automatic
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

HOSTILE = {
    "absolute": ("/tmp/evil.JPEG", tarfile.REGTYPE, "", "plain relative path"),
    "parent": ("../evil.JPEG", tarfile.REGTYPE, "", "plain relative path"),
    "parent inside": ("a/../../evil.JPEG", tarfile.REGTYPE, "", "plain relative path"),
    "backslash": ("..\\evil.JPEG", tarfile.REGTYPE, "", "plain relative path"),
    "drive": ("C:evil.JPEG", tarfile.REGTYPE, "", "plain relative path"),
    "control": ("a\x1b[31m.JPEG", tarfile.REGTYPE, "", "plain relative path"),
    "symbolic link": ("link.JPEG", tarfile.SYMTYPE, "/etc/passwd", "a symbolic link"),
    "linked folder": ("n1", tarfile.SYMTYPE, "..", "a symbolic link"),
    "hard link": ("hard.JPEG", tarfile.LNKTYPE, "good.JPEG", "a hard link"),
    "device": ("null.JPEG", tarfile.CHRTYPE, "", "a device"),
    "disk": ("disk.JPEG", tarfile.BLKTYPE, "", "a device"),
    "pipe": ("pipe.JPEG", tarfile.FIFOTYPE, "", "a pipe"),
    "twice": ("good.JPEG", tarfile.REGTYPE, "", "occurs twice"),
    "twice, disguised": ("./good.JPEG", tarfile.REGTYPE, "", "occurs twice"),
}


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
    assert "there is 'imagenet'" in capfd.readouterr().err
