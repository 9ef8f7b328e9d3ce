"""Small labelled images for the tests of ``data``, in every form of storage."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from PIL import Image


def picture(seed: int, size: tuple[int, int] = (40, 32), kind: str = "JPEG") -> bytes:
    """Return an encoded picture of smooth random colours, different for each seed."""
    coarse = np.random.default_rng(seed).integers(0, 256, (5, 5, 3), dtype=np.uint8)
    image = Image.fromarray(coarse).resize(size, Image.Resampling.BICUBIC)
    out = io.BytesIO()
    image.save(out, kind, quality=90)
    return out.getvalue()


def make_folder(root: Path, counts: Mapping[str, int], *, seed: int = 0) -> Path:
    """Write ``counts[class]`` pictures into ``root/<class>/<number>.jpg``; a class may be ``train/cat``."""
    for position, (folder, count) in enumerate(counts.items()):
        (root / folder).mkdir(parents=True, exist_ok=True)
        for number in range(count):
            (root / folder / f"{number:03d}.jpg").write_bytes(picture(seed + 1000 * position + number))
    return root


def zip_folder(folder: Path, archive: Path, *, prefix: str = "") -> Path:
    """Pack a folder without directory entries."""
    with zipfile.ZipFile(archive, "w") as file:
        for path in sorted(folder.rglob("*")):
            if path.is_file():
                file.write(path, f"{prefix}{path.relative_to(folder).as_posix()}")
    return archive


def list_folder(folder: Path, file: Path, classes: list[str]) -> Path:
    """Write a PaddleClas list of ``folder/<class>/<image>`` with class indices."""
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))
    file.write_text("".join(f"{path} {classes.index(path.split('/')[0])}\n" for path in paths))
    return file


def parquet_folder(folder: Path, file: Path, classes: list[str], *, rows_per_group: int = 3) -> Path:
    """Write ``folder/<class>/<image>`` as Hugging Face's ``datasets`` would."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.jpg"))
    features = {
        "image": {"_type": "Image"},
        "label": {"names": classes, "_type": "ClassLabel"},
    }
    schema = pa.schema(
        [("image", pa.struct([("bytes", pa.binary()), ("path", pa.string())])), ("label", pa.int64())],
        metadata={"huggingface": json.dumps({"info": {"features": features}})},
    )
    rows = [
        {
            "image": {"bytes": (folder / path).read_bytes(), "path": path},
            "label": classes.index(path.split("/")[0]),
        }
        for path in paths
    ]
    file.parent.mkdir(parents=True, exist_ok=True)
    pq.write_table(pa.Table.from_pylist(rows, schema=schema), file, row_group_size=rows_per_group)
    return file
