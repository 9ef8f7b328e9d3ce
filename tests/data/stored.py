"""The same images in every form of storage."""

from __future__ import annotations

from pathlib import Path

from ghostclas.data import Source, open_source
from ghostclas.data.shards import write_shards
from tests.data.trees import parquet_folder, zip_folder

CLASSES = ["ant", "bee", "cat"]
COUNTS = {"ant": 4, "bee": 3, "cat": 5}


def in_zip(photos: Path, place: Path) -> Path:
    return zip_folder(photos, place / "photos.zip")


def in_shards(photos: Path, place: Path) -> Path:
    write_shards(open_source(photos), place / "shards", size=5)
    return place / "shards"


def in_parquet(photos: Path, place: Path) -> Path:
    return parquet_folder(photos, place / "photos.parquet", CLASSES)


def contents(source: Source) -> list[tuple[str, str, bytes]]:
    return [(s.key, source.classes[s.label], source.read(i)) for i, s in enumerate(source.samples)]
