"""The loop's batches: batch norm never sees a single image."""

from pathlib import Path

import pytest

from ghostclas.errors import DataError, GhostclasError, UsageError
from ghostclas.training import train
from ghostclas.training.config import LoopConfig
from ghostclas.training.loop import check_batch
from tests.training.photos import photo_folder
from tests.training.test_run import settings


@pytest.mark.parametrize(
    ("loop", "images", "world", "error", "message"),
    [
        (LoopConfig(batch_size=1), 9, 1, UsageError, "loop.batch_size 1 trains on one image .* to 2 or more"),
        (LoopConfig(batch_size=8, accumulate=8), 9, 1, UsageError, "in loop.accumulate=8 parts .* to 16 or"),
        (LoopConfig(batch_size=4), 9, 4, UsageError, "loop.batch_size 4 over 4 processes .* to 8 or more"),
        (LoopConfig(batch_size=9), 9, 2, UsageError, "is not a multiple of 2 processes"),
        (LoopConfig(), 1, 1, DataError, "there are 1 images to train on"),
    ],
)
def test_a_batch_of_a_single_image_is_refused(
    loop: LoopConfig, images: int, world: int, error: type[GhostclasError], message: str
) -> None:
    with pytest.raises(error, match=message):
        check_batch(loop, images, world=world)
    check_batch(LoopConfig(batch_size=8, accumulate=4), 9, world=1)


def test_a_batch_of_a_single_image_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "photos", train=2, val=1)
    with pytest.raises(UsageError, match="batch norm needs 2"):
        train(config=settings(folder, "loop.batch_size=1"), output=tmp_path / "run")
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("accumulate", [1, 4])
def test_five_images_in_parts_and_one_image_left_over_are_trained_on(
    accumulate: int, tmp_path: Path, weights_only: None
) -> None:
    # At 32 pixels the last maps are of one pixel: batch norm over one image of them is an error.
    folder = photo_folder(tmp_path / "photos", classes=5, train=1, val=1)
    batch = f"loop.batch_size={8 if accumulate > 1 else 4}"
    run = train(
        config=settings(folder, batch, f"loop.accumulate={accumulate}", "schedule.epochs=1"),
        output=tmp_path / "run",
    )
    assert run.epochs == 1
