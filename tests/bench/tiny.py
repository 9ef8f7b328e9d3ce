"""The smallest measurement."""

from __future__ import annotations

from pathlib import Path

from ghostclas.bench.results import Settings
from ghostclas.bundle import Bundle
from tests.images import encode, photo

TINY = Settings(threads=(1, 2), batches=(1, 2), rounds=2, runs=1, warmup=1, cold_starts=1, passes=1, photos=3)


def labelled_photos(place: Path, bundle: Bundle) -> Path:
    """Write two photos of each of the bundle's first two classes."""
    for number, name in enumerate(bundle.classes[:2]):
        folder = place / "labelled" / name
        folder.mkdir(parents=True)
        for seed in range(2):
            (folder / f"{seed}.jpg").write_bytes(encode(photo(90, 80, 10 * number + seed), "JPEG"))
    return place / "labelled"
