"""The lines of a run."""

from __future__ import annotations

from ghostclas.training.progress import epoch_line, step_line


def test_the_live_line_shows_the_last_accuracy_only_where_there_is_one() -> None:
    known = step_line(3, 10, 0.5, loss=1.2345, top1=71.5, rate=812.4, waiting=0.05, left=90)
    assert known.startswith("epoch 3/10 " + "━" * 10 + "╌" * 10 + "  50%  loss 1.234  top-1 71.50  812 img/s")
    assert "data 5%" in known
    first = step_line(1, 10, 1.0, loss=2, top1=None, rate=1, waiting=0, left=0)
    assert "top-1" not in first
    assert "1.0 img/s" in first
    assert "━" * 20 + " 100%" in first


def test_the_line_of_an_epoch_marks_the_best_and_says_where_nothing_was_validated() -> None:
    entry = {
        "epoch": 2,
        "loss": 0.5,
        "images_per_second": 99.6,
        "data_wait": 0.25,
        "lr": 0.0123,
        "seconds": 5,
    }
    assert "not validated" in epoch_line(entry, 4, left=10)
    best = epoch_line({**entry, "top1": 80.0, "best": True}, 4, left=10)
    known = epoch_line({**entry, "top1": 80.0, "val_loss": 0.71}, 4, left=10)
    assert known.startswith("epoch 2/4  loss 0.500  val loss 0.710  top-1 80.00  100 img/s")
    assert best.startswith("epoch 2/4  loss 0.500  top-1 80.00 *  100 img/s  data 25%  lr 0.012")
