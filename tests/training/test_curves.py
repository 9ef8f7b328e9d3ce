"""The picture of a run."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from ghostclas.training.curves import Curves, draw_curves


@pytest.mark.parametrize("top5", [{}, {"top5": 95.0}, {"val_loss": 1.5}])
def test_a_log_becomes_a_picture_also_where_epochs_were_not_validated(
    top5: dict[str, float], tmp_path: Path
) -> None:
    entries = [
        {"epoch": 1, "loss": 2.0, "lr": 0.1},
        {"epoch": 2, "loss": 1.0, "lr": 0.05, "top1": 60.0, **top5},
    ]
    path = tmp_path / "curves.png"
    draw_curves(entries, path, val_images=200)
    with Image.open(path) as picture:
        picture.load()
        assert len(picture.convert("RGB").getcolors(2**24) or []) > 50, "nothing is drawn in it"
    assert list(tmp_path.iterdir()) == [path]


def test_nothing_is_drawn_of_an_empty_log(tmp_path: Path) -> None:
    draw_curves([], tmp_path / "curves.png")
    assert list(tmp_path.iterdir()) == []


def test_an_epoch_right_after_a_drawing_is_left_to_the_next(tmp_path: Path) -> None:
    entries = [{"epoch": epoch, "loss": 2.0 / epoch, "lr": 0.1, "top1": 50.0 + epoch} for epoch in (1, 2)]
    curves = Curves(tmp_path / "curves.png")
    curves.update(entries[:1])
    first = curves.path.read_bytes()
    curves.update(entries)
    assert curves.path.read_bytes() == first
