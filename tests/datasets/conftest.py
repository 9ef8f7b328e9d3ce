"""A folder with one fault of each kind."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from tests.data.trees import make_folder, picture
from tests.datasets.faulty import encoded, rescaled


@pytest.fixture
def dirty(tmp_path: Path) -> Path:
    """Two parts with one fault of each kind."""
    root = make_folder(tmp_path / "set", {"train/ant": 6, "train/bee": 5, "train/cat": 4})
    make_folder(root, {"val/ant": 3, "val/bee": 2}, seed=50_000)
    train, val = root / "train", root / "val"
    (val / "ant" / "copied.jpg").write_bytes((train / "ant" / "000.jpg").read_bytes())
    (val / "bee" / "rescaled.jpg").write_bytes(rescaled((train / "bee" / "001.jpg").read_bytes()))
    (train / "cat" / "mislabelled.jpg").write_bytes((train / "bee" / "002.jpg").read_bytes())
    (train / "cat" / "again.jpg").write_bytes((train / "cat" / "000.jpg").read_bytes())
    (train / "ant" / "empty.jpg").write_bytes(b"")
    (train / "ant" / "text.jpg").write_bytes(b"<html>not found</html>")
    (val / "ant" / "cut.jpg").write_bytes(picture(99, (300, 200))[:2000])
    (train / "ant" / "really_png.jpg").write_bytes(picture(98, kind="PNG"))
    (train / "ant" / "tiny.jpg").write_bytes(picture(97, (20, 30)))
    (train / "bee" / "long.jpg").write_bytes(picture(96, (400, 50)))
    (train / "bee" / "blank.jpg").write_bytes(encoded(np.full((50, 50, 3), 200, np.uint8), "JPEG"))
    (val / "bee" / "blank2.jpg").write_bytes(encoded(np.full((50, 50, 3), 201, np.uint8), "JPEG"))
    (train / "bee" / "notes.txt").write_text("x")
    return root
