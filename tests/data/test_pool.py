"""A pool is every image below a folder, labels aside, and says what it left out."""

from __future__ import annotations

from pathlib import Path

from ghostclas.data import source_notes
from ghostclas.data.pool import UNLABELLED, open_pool
from tests.data.trees import make_folder, picture


def test_a_pool_takes_images_by_content_and_counts_the_others(tmp_path: Path) -> None:
    root = make_folder(tmp_path, {"": 1, "deep/er": 1, "@eaDir": 1})
    (root / "deep" / "scan").write_bytes(picture(1))
    (root / "deep" / "x.jxl").touch()
    pool = open_pool(root)
    assert [(s.key, s.label) for s in pool.samples] == [
        ("000.jpg", UNLABELLED),
        ("deep/er/000.jpg", UNLABELLED),
        ("deep/scan", UNLABELLED),
    ]
    assert source_notes(pool) == (
        f"{root}: left out 1 file that is no image: 1 JPEG XL; save photos of these kinds as JPEG or PNG",
    )
