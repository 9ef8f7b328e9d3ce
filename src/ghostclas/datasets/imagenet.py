"""Preparation of ImageNet: the archives of ILSVRC2012, as distributed, become a data set.

Nothing gets its final name before it is complete: a split is written to ``.train.part`` or ``.val.part`` and
renamed after its images have been counted. After a stop, the same command continues: it recognises finished
class folders, shards and files of the right size. Only one such command may write to an output folder.
"""

from __future__ import annotations

import re
import shutil
import tarfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from functools import partial
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, Literal

from ghostclas.data.archives import open_inner_tar, open_tar, read_member, regular_members, write_member
from ghostclas.data.classes import CLASSES_FILE, distinct_names, first_few
from ghostclas.data.filenames import is_image
from ghostclas.data.labels import write_label_file
from ghostclas.data.listfile import LIST_NAMES
from ghostclas.data.shards import SHARD_IMAGES, shard_index, write_shard
from ghostclas.datasets.synset_table import read_synsets
from ghostclas.errors import DataError, UsageError, did_you_mean
from ghostclas.files import check_folder, flush, sweep, write_text
from ghostclas.spreadsheet import inert

Layout = Literal["folder", "list", "shards"]
Progress = Callable[[int, int | None], None]

LAYOUTS: tuple[Layout, ...] = ("folder", "list", "shards")
META = "data/meta.mat"
GROUND_TRUTH = "data/ILSVRC2012_validation_ground_truth.txt"

_WNID = re.compile(r"n\d{8}")
_VAL_NAME = re.compile(r"ILSVRC2012_val_(\d{8})\.JPEG")
_MAX_DEVKIT_FILE = 64 * 1024 * 1024
_MAX_DEVKIT = 512 * 1024 * 1024
_MAX_DIGITS = 9


@dataclass(frozen=True)
class Expected:
    """The required numbers of images and classes; the defaults are ILSVRC2012's."""

    train: int = 1_281_167
    val: int = 50_000
    classes: int = 1_000

    @classmethod
    def parse(cls, text: str) -> Expected:
        """Parse ``train=100,val=10,classes=2``; absent names keep their defaults.

        Raises:
            UsageError: an unknown name, or no number.
        """
        known = [field.name for field in fields(cls)]
        values: dict[str, int] = {}
        for item in text.split(","):
            name, _, number = (part.strip() for part in item.partition("="))
            if name not in known or not number.isdecimal() or len(number) > _MAX_DIGITS:
                raise UsageError(
                    f"--expect takes train=N,val=N,classes=N, not {item[:80]!r}{did_you_mean(name, known)}"
                )
            values[name] = int(number)
        return cls(**values)


@dataclass(frozen=True)
class Devkit:
    """The classes and validation labels of the development kit.

    Attributes:
        names: the name of each class by its WordNet id, in ImageNet's usual order of classes (sorted ids).
        val: the WordNet id of each validation image, number 1 first.
    """

    names: Mapping[str, str]
    val: Sequence[str]


@dataclass(frozen=True)
class Prepared:
    """A finished data set in the output folder."""

    output: Path
    layout: Layout
    train: int
    val: int
    classes: int

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain JSON."""
        return {**asdict(self), "output": str(self.output)}


def prepare_imagenet(
    train_tar: Path,
    val_tar: Path,
    devkit: Path,
    output: Path,
    *,
    layout: Layout = "folder",
    expect: Expected | None = None,
    shard_images: int = SHARD_IMAGES,
    progress: Progress | None = None,
) -> Prepared:
    """Write a data set from ILSVRC2012's archives; the images' bytes stay unchanged.

    ``folder`` gives ``train/<wnid>/*.JPEG`` and ``val/<wnid>/*.JPEG`` with a ``classes.csv``. ``list`` gives
    the same with PaddleClas' ``train_list.txt``, ``val_list.txt`` and ``label_list.txt``. ``shards`` gives
    ``train/train-000000.tar`` and so on with a ``classes.txt``, in the order of the archives.

    Args:
        train_tar: ``ILSVRC2012_img_train.tar``, one inner ``.tar`` for each class.
        val_tar: ``ILSVRC2012_img_val.tar``.
        devkit: ``ILSVRC2012_devkit_t12.tar.gz``.
        output: the folder to write, created if absent. After a stop, the same call continues.
        layout: ``folder``, ``list`` or ``shards``.
        expect: the required numbers, for subsets.
        shard_images: the number of images in a shard.
        progress: called with the number of images done and expected.

    Raises:
        UsageError: ``output`` cannot be written; no archive was opened.
        DataError: an archive is damaged, unsafe or of another kind, the numbers differ from those expected,
            or the disk has too little space.
        MissingExtraError: scipy, which reads ``meta.mat``, is not installed.
    """
    check_folder(output, option="--output")
    expect = expect or Expected()
    kit = read_devkit(devkit)
    _count("classes in the devkit", len(kit.names), "classes", expect.classes)
    _count("labels of validation images in the devkit", len(kit.val), "val", expect.val)
    output.mkdir(parents=True, exist_ok=True)
    _check_space(output, (train_tar, val_tar))
    ticker = _Ticker(progress, expect.train + expect.val)
    write: Callable[[Members, Path, str, _Ticker], None] = _write_folders
    if layout == "shards":
        write = partial(_write_shards, classes=list(kit.names), size=shard_images)
    sources = {
        "train": (train_tar, partial(_train_members, train_tar, kit), expect.train),
        "val": (val_tar, partial(_val_members, val_tar, kit), expect.val),
    }
    counts = {}
    for split, (archive, members, expected) in sources.items():
        final, part = output / split, output / f".{split}.part"
        if not final.is_dir():
            part.mkdir(exist_ok=True)
            write(members, part, split, ticker)
            _count(f"images in {archive}", _stored(part, layout), split, expected)
            part.rename(final)
            flush(output)
        counts[split] = _stored(final, layout)
        _count(f"images in {final}", counts[split], split, expected)
        ticker.set(sum(counts.values()))
    _write_names(output, layout, kit)
    return Prepared(output, layout, counts["train"], counts["val"], len(kit.names))


# ------------------------------------------------------------------ development kit


def read_devkit(archive: Path) -> Devkit:
    """Read the classes and the validation labels from the development kit.

    The name of a class is the first of its synonyms; two with the same name get their WordNet ids as well.

    Raises:
        DataError: the archive or one of its two files is missing, damaged or of another kind.
        MissingExtraError: scipy is not installed.
    """
    contents: dict[str, bytes] = {}
    with open_tar(archive) as tar:
        for name, member in regular_members(tar, str(archive)):
            if member.offset_data + member.size > _MAX_DEVKIT:
                raise DataError(f"{archive} unpacks to more than {_MAX_DEVKIT:,} bytes; it should be small")
            for wanted in (META, GROUND_TRUTH):
                if str(name).endswith(wanted):
                    if member.size > _MAX_DEVKIT_FILE:
                        raise DataError(f"{archive}: {name} has {member.size:,} bytes; it should be small")
                    contents[wanted] = read_member(tar, member)
    missing = [wanted for wanted in (META, GROUND_TRUTH) if wanted not in contents]
    if missing:
        raise DataError(f"{archive} holds no {missing[0]}; is it ILSVRC2012_devkit_t12.tar.gz?")
    wnids, names = _read_meta(contents[META], f"{archive}/{META}")
    numbers = contents[GROUND_TRUTH].split()
    for line, number in enumerate(numbers, start=1):
        if not number.isdigit() or len(number) > _MAX_DIGITS or int(number) not in wnids:
            raise DataError(
                f"{archive}/{GROUND_TRUTH}, line {line}: {number[:80]!r} is the number of no class"
            )
    return Devkit(names, [wnids[int(number)] for number in numbers])


def _read_meta(content: bytes, location: str) -> tuple[dict[int, str], dict[str, str]]:
    rows = read_synsets(content, location)
    bad = [wnid for _, wnid, _ in rows if not _WNID.fullmatch(wnid)]
    if bad:
        raise DataError(f"{location}: {bad[0]!r} is no WordNet id")
    wnids = {number: wnid for number, wnid, _ in rows}
    names = {wnid: words.split(",")[0].strip() or wnid for _, wnid, words in rows}
    if len(wnids) != len(rows) or len(names) != len(rows):
        raise DataError(f"{location}: a class occurs twice")
    return wnids, distinct_names(dict(sorted(names.items())))


# ------------------------------------------------------------------ archives


@dataclass(frozen=True)
class _Image:
    """An image in an archive, which stays open until the iterator moves on."""

    wnid: str
    name: str
    tar: tarfile.TarFile
    member: tarfile.TarInfo


Members = Callable[[Sequence[str]], Iterator[_Image]]
"""Iterates over the images of an archive; finished classes are skipped if their images are contiguous."""


def _train_members(archive: Path, kit: Devkit, done: Sequence[str]) -> Iterator[_Image]:
    seen: list[str] = []
    with open_tar(archive, compressed=False) as outer:
        for name, member in regular_members(outer, str(archive), max_bytes=None):
            location = f"{archive}/{name}"
            if name.suffix != ".tar" or name.stem not in kit.names:
                raise DataError(f"{location}: expected a .tar named after a class of the devkit")
            seen.append(name.stem)
            if name.stem in done:
                continue
            with open_inner_tar(outer, member, location) as inner:
                for image, inner_member in regular_members(inner, location):
                    yield _Image(name.stem, _image_name(image, location), inner, inner_member)
    absent = sorted(kit.names.keys() - set(seen))
    if absent:
        raise DataError(
            f"{archive} holds no archive of the class{'es' * (len(absent) > 1)} {first_few(absent)}"
        )


def _val_members(archive: Path, kit: Devkit, _done: Sequence[str]) -> Iterator[_Image]:
    with open_tar(archive, compressed=False) as tar:
        for name, member in regular_members(tar, str(archive)):
            match = _VAL_NAME.fullmatch(name.name)
            if match is None or not 1 <= int(match[1]) <= len(kit.val):
                raise DataError(
                    f"{archive}: {str(name)!r} is none of the {len(kit.val):,} images that the devkit labels"
                )
            yield _Image(kit.val[int(match[1]) - 1], _image_name(name, str(archive)), tar, member)


def _image_name(name: PurePosixPath, location: str) -> str:
    if len(name.parts) != 1 or not is_image(name.name) or name.name.startswith("."):
        raise DataError(f"{location}: {str(name)!r} is no image at the top of the archive")
    return name.name


# ------------------------------------------------------------------ output


def _write_folders(members: Members, part: Path, split: str, ticker: _Ticker) -> None:
    """Write ``part/<wnid>/<image>``; the folder of an unfinished class is ``.<wnid>.part``.

    A file of the right size in it is complete, too, since writing only appends.
    """
    finished = [folder.name for folder in part.iterdir() if not folder.name.startswith(".")]
    if split == "train":
        ticker.step(sum(1 for wnid in finished for _ in (part / wnid).iterdir()))
    current: str | None = None
    for image in members(finished):
        if split == "train" and current not in (None, image.wnid):
            _finish(part / f".{current}.part")
        current = image.wnid
        folder = part / (image.wnid if image.wnid in finished else f".{image.wnid}.part")
        folder.mkdir(exist_ok=True)
        target = folder / image.name
        if target.is_symlink() or not target.is_file() or target.stat().st_size != image.member.size:
            target.unlink(missing_ok=True)
            write_member(image.tar, image.member, target)
        ticker.step()
    for folder in sorted(part.glob(".n*.part")):
        _finish(folder)


def _finish(folder: Path) -> None:
    for file in folder.iterdir():
        flush(file)
    flush(folder)
    folder.rename(folder.with_name(folder.name.removeprefix(".").removesuffix(".part")))
    flush(folder.parent)


def _write_shards(
    members: Members, part: Path, split: str, ticker: _Ticker, *, classes: Sequence[str], size: int
) -> None:
    label = {wnid: str(index) for index, wnid in enumerate(classes)}
    images = members(())
    sweep(part, older_than=0)
    for number in range(10**6):
        shard = part / f"{split}-{number:06d}.tar"
        if shard.exists():
            names = [f"{image.wnid}/{image.name}" for image in islice(images, size)]
            if names != [entry.name for entry in shard_index(shard)]:
                raise DataError(f"{shard} holds other images than it should; remove {part} and start again")
            ticker.step(len(names))
            continue
        first = next(images, None)
        if first is None:
            return
        write_shard(shard, _read(first, islice(images, size - 1), label, ticker))


def _read(
    first: _Image, others: Iterator[_Image], label: Mapping[str, str], ticker: _Ticker
) -> Iterator[tuple[str, bytes, str]]:
    image: _Image | None = first
    while image is not None:
        content = read_member(image.tar, image.member)
        yield f"{image.wnid}/{image.name}", content, label[image.wnid]
        ticker.step()
        image = next(others, None)


def _write_names(output: Path, layout: Layout, kit: Devkit) -> None:
    classes = list(kit.names.values())
    if layout == "shards":
        write_label_file(output / "classes.txt", classes)
        return
    quoted = {wnid: inert(name).replace('"', '""') for wnid, name in kit.names.items()}
    rows = "".join(f'{wnid},"{name}"\n' for wnid, name in quoted.items())
    write_text(output / CLASSES_FILE, f"wnid,name\n{rows}")
    if layout == "list":
        write_label_file(output / "label_list.txt", classes)
        for split in ("train", "val"):
            lines = (
                f"{split}/{wnid}/{file.name} {index}\n"
                for index, wnid in enumerate(kit.names)
                if (output / split / wnid).is_dir()
                for file in sorted((output / split / wnid).iterdir())
            )
            write_text(output / LIST_NAMES[split], "".join(lines))


def _stored(folder: Path, layout: Layout) -> int:
    if layout == "shards":
        return sum(len(shard_index(shard)) for shard in sorted(folder.glob("*.tar")))
    return sum(
        1 for wnid in folder.iterdir() if wnid.is_dir() for file in wnid.iterdir() if is_image(file.name)
    )


def _count(what: str, found: int, key: str, expected: int) -> None:
    if found != expected:
        raise DataError(
            f"{found:,} {what}, but {expected:,} are expected; get the archive again, or, if it is a subset, "
            f"say so: --expect {key}={found}"
        )


def _check_space(output: Path, archives: Sequence[Path]) -> None:
    missing = [archive for archive in archives if not archive.is_file()]
    if missing:
        raise DataError(f"no such file: {missing[0]}")
    if any(output.iterdir()):  # a part is written already
        return
    needed, free = sum(archive.stat().st_size for archive in archives), shutil.disk_usage(output).free
    if free < needed:
        raise DataError(f"{output} has {free / 1e9:.1f} GB left; the images need about {needed / 1e9:.1f} GB")


class _Ticker:
    """Counts images for the progress callback."""

    def __init__(self, progress: Progress | None, total: int) -> None:
        self.progress, self.total, self.done = progress, total, 0

    def step(self, images: int = 1) -> None:
        self.set(self.done + images)

    def set(self, done: int) -> None:
        self.done = done
        if self.progress is not None:
            self.progress(done, self.total)
