"""Recall and false positives of mining's search for copies of validation images in a pool.

    PYTHONPATH=. python benchmarks/ssld_duplicates.py ../shared/data/tiny-imagenet-200.zip

Hides every `--every`th validation image in a pool, with each change of `tests/ssld/web_images.py`, among
`--others` training images, and mines the pool against the whole validation set. A copy that brightening left
blank is counted separately, since nothing recognisable is left of it. Writes into docs/ssld.md.
"""

from __future__ import annotations

import argparse
import tempfile
import zipfile
from collections import Counter
from pathlib import Path

import numpy as np
from documents import fill, machine, table
from PIL import Image

from ghostclas import imaging
from ghostclas.data import open_splits
from ghostclas.datasets.audit import BLANK_DETAIL
from ghostclas.datasets.phash import perceptual_hashes
from ghostclas.ssld import MineConfig, TeacherConfig, mine, open_cache, open_teacher
from tests.ssld.web_images import CHANGES


def unpack(archive: Path, root: Path, every: int, others: int) -> dict[str, str]:
    """Write the validation set, a training image of each class and the pool; return the copies' changes."""
    with zipfile.ZipFile(archive) as members:
        names = sorted(name for name in members.namelist() if name.endswith(".webp"))
        val = [name for name in names if name.startswith("val/")]
        train = [name for name in names if name.startswith("train/")]
        firsts = {name.split("/")[1]: name for name in reversed(train)}
        for name in [*val, *firsts.values(), "classes.csv"]:
            target = root / "data" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(members.read(name))
        pool = root / "pool"
        pool.mkdir()
        rest = sorted(set(train) - set(firsts.values()))
        for name in rest[:: len(rest) // others][:others]:
            (pool / Path(name).name).write_bytes(members.read(name))
    draw = np.random.default_rng(0)
    hidden = {}
    for number, name in enumerate(val[::every]):
        image = Image.open(root / "data" / name).convert("RGB")
        for change, make in CHANGES.items():
            copy = make(image, draw)
            blank = perceptual_hashes(imaging.decode(copy)).detail < BLANK_DETAIL
            file = f"copy-{number}-{change}.jpg"
            (pool / file).write_bytes(copy)
            hidden[file] = "left blank" if blank else change
    return hidden


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--every", type=int, default=20)
    parser.add_argument("--others", type=int, default=2000)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        hidden = unpack(arguments.data, root, arguments.every, arguments.others)
        teacher = open_teacher(TeacherConfig(model="default"))
        splits = open_splits(root / "data")
        cache = open_cache(teacher, root / "cache")
        found = mine(teacher, splits, root / "pool", cache, MineConfig(), threads=2)
    removed = [found.pool.samples[one.image].key for one in found.removed if one.where == "val"]
    wrong = [key for key in removed if key not in hidden]
    made, hit = Counter(hidden.values()), Counter(hidden[key] for key in removed if key in hidden)
    rows = [
        [change, f"{hit[change]} of {made[change]}"] for change in (*CHANGES, "left blank") if made[change]
    ]
    rows.append(["training images mistaken for one", f"{len(wrong)} of {arguments.others}"])
    fill(
        "ssld.md",
        "duplicates",
        [
            *table("copies|found", rows),
            "",
            f"{len(splits.val.samples):,} validation images, {len(found.pool.samples):,} in the pool. "
            f"{machine(['opencv-python-headless', 'numpy'])}",
            f"`PYTHONPATH=. python benchmarks/ssld_duplicates.py tiny-imagenet-200.zip "
            f"--every {arguments.every} --others {arguments.others}` repeats it.",
        ],
    )
    print("\n".join(sorted(wrong)))


if __name__ == "__main__":
    main()
