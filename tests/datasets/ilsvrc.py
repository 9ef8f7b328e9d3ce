"""Archives with ILSVRC2012's layout and a few small images, valid and hostile."""

from __future__ import annotations

import io
import tarfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.io import savemat

from tests.data.hostile import add
from tests.data.trees import picture

WNIDS = {"n02012849": "crane", "n01440764": "tench, Tinca tinca", "n03126707": "crane"}
"""Not in sorted order, as in the real devkit: its numbers are not the usual class indices."""


@dataclass
class Archives:
    """The three files, and what they hold by ``split/wnid/name``."""

    train: Path
    val: Path
    devkit: Path
    images: dict[str, bytes]


def inner_tar(images: dict[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, content in images.items():
            add(tar, name, content)
    return out.getvalue()


def write_devkit(path: Path, val_numbers: Sequence[int]) -> None:
    dtype = [(n, "O") for n in ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children", "children")]
    rows = [
        (i, wnid, words, "a gloss", 0, np.array([])) for i, (wnid, words) in enumerate(WNIDS.items(), start=1)
    ]
    rows.append((4, "n00001740", "entity", "everything", 3, np.array([1, 2, 3])))
    mat = io.BytesIO()
    savemat(mat, {"synsets": np.array(rows, dtype=dtype).reshape(-1, 1)})
    with tarfile.open(path, "w:gz") as tar:
        add(tar, "ILSVRC2012_devkit_t12/readme.txt", b"hello")
        add(tar, "ILSVRC2012_devkit_t12/data", kind=tarfile.DIRTYPE)
        add(tar, "ILSVRC2012_devkit_t12/data/meta.mat", mat.getvalue())
        truth = "".join(f"{number}\n" for number in val_numbers).encode()
        add(tar, "ILSVRC2012_devkit_t12/data/ILSVRC2012_validation_ground_truth.txt", truth)


def make_archives(place: Path, *, each: int = 4, val: int = 6) -> Archives:
    place.mkdir(parents=True, exist_ok=True)
    images: dict[str, bytes] = {}
    wnids = list(WNIDS)
    with tarfile.open(place / "train.tar", "w") as tar:
        for position, wnid in enumerate(wnids):
            pictures = {f"{wnid}_{i}.JPEG": picture(100 * position + i) for i in range(each)}
            images |= {f"train/{wnid}/{name}": content for name, content in pictures.items()}
            add(tar, f"{wnid}.tar", inner_tar(pictures))
    numbers = [1 + (5 * i) % 3 for i in range(val)]
    with tarfile.open(place / "val.tar", "w") as tar:
        for i, number in enumerate(numbers, start=1):
            name, content = f"ILSVRC2012_val_{i:08d}.JPEG", picture(5000 + i)
            images[f"val/{wnids[number - 1]}/{name}"] = content
            add(tar, name, content)
    write_devkit(place / "devkit.tar.gz", numbers)
    return Archives(place / "train.tar", place / "val.tar", place / "devkit.tar.gz", images)
