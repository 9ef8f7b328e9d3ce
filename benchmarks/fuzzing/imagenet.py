"""The archives of ILSVRC2012, prepared as ``data prepare`` does it."""

from __future__ import annotations

import gzip
import shutil
from pathlib import Path
from random import Random

from fuzzing.mutation import repair_tar, scramble
from fuzzing.target import Target
from ghostclas.datasets.imagenet import Expected, prepare_imagenet, read_devkit
from tests.datasets.ilsvrc import make_archives

_EXPECTED = Expected(train=6, val=3, classes=3)


def _archives(folder: Path) -> object:
    return make_archives(folder / "archives", each=2, val=3)


def _devkits(folder: Path) -> list[bytes]:
    _archives(folder)
    return [gzip.compress(gzip.decompress((folder / "archives/devkit.tar.gz").read_bytes()), mtime=0)]


def _mutate_devkit(data: bytes, rng: Random) -> bytes:
    if rng.random() < 0.2:
        return scramble(data, rng)
    changed = scramble(gzip.decompress(data), rng, [b"synsets", b"\x0f\0\0\0", b"\x0e\0\0\0", b"\x06\0\0\0"])
    return gzip.compress(repair_tar(changed), mtime=0)


def _read_devkit(path: Path) -> None:
    read_devkit(path)


def _trains(folder: Path) -> list[bytes]:
    _archives(folder)
    return [(folder / "archives/train.tar").read_bytes()]


def _mutate_train(data: bytes, rng: Random) -> bytes:
    changed = scramble(data, rng, [b"n01440764", b"../", b"2", b"L", b"x"])
    return repair_tar(changed) if rng.random() < 0.9 else changed


def _prepare(path: Path) -> None:
    shutil.rmtree(path.parent / "out", ignore_errors=True)
    beside = path.parent / "archives"
    prepare_imagenet(
        path, beside / "val.tar", beside / "devkit.tar.gz", path.parent / "out", expect=_EXPECTED
    )


DEVKIT = Target("devkit.tar.gz", _devkits, _mutate_devkit, _read_devkit)
TRAIN = Target("train.tar", _trains, _mutate_train, _prepare, _archives)
