"""The epoch that a run keeps, of epochs of which validation images tell little."""

from math import inf

import pytest

from ghostclas.training.selection import is_better


def kept(epochs: list[tuple[float, float]], images: int) -> int:
    """Return the place of the epoch that is kept, of epochs with a top-1 and a loss each."""
    best, place, highest = (-1.0, inf), -1, -1.0
    for number, (top1, loss) in enumerate(epochs):
        highest = max(highest, top1)
        if is_better(top1, loss, kept=best, highest=highest, images=images):
            best, place = (top1, loss), number
    return place


def test_a_hundred_images_do_not_choose_an_early_epoch_by_luck() -> None:
    epochs = [(77.0, 0.80), (77.0, 0.78), (74.0, 0.76), (75.0, 0.755)]
    assert kept(epochs, 100) == 3
    assert kept(epochs, 100_000) == 1, "so many images know"


def test_an_epoch_that_is_worse_is_not_kept_for_its_loss() -> None:
    assert kept([(90.0, 0.5), (60.0, 0.1)], 100) == 0
    assert kept([(60.0, 0.1), (90.0, 0.5)], 100) == 1
    assert kept([(86.0, 0.4), (88.0, 0.6), (95.0, 0.7)], 100) == 2, "86 and 88 are far below now"


@pytest.mark.parametrize("images", [1, 10, 1_000])
def test_equal_epochs_are_told_apart_by_loss_then_by_order(images: int) -> None:
    assert kept([(100.0, 0.2), (100.0, 0.1), (100.0, 0.1)], images) == 1
    assert kept([(0.0, 5.0), (0.0, 4.0)], images) == 1


def test_the_first_epoch_is_kept_until_there_is_another() -> None:
    assert kept([(0.0, 9.0)], 12) == 0
    assert kept([(50.0, inf), (51.0, inf)], 100) == 1, "without a loss, by accuracy"
