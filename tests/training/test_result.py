"""What a run says of itself."""

from dataclasses import replace
from pathlib import Path

from ghostclas.training.result import Run

RUN = Run(Path("runs/pets"), Path("runs/pets/bundle"), 40, 75.0, None, 0, images=60, best_epoch=24)


def test_a_summary_says_how_sure_the_accuracy_is_and_of_which_epoch() -> None:
    first = RUN.summary().splitlines()[0]
    assert first == (
        "top-1 75.00 % (95 % interval 63 to 84 %) on 60 images of val, with the weights of epoch 24 of 40"
    )
    assert RUN.as_dict()["interval"] == RUN.interval
    assert replace(RUN, images=None).interval is None


def test_every_view_of_a_run_says_which_epoch_it_keeps_and_how_sure_it_is() -> None:
    assert repr(RUN).endswith(": top-1 75.00 %, with the weights of epoch 24 of 40>")
    page = RUN._repr_html_()
    assert "40, the best is 24" in page
    assert "63 to 84 %" in page
    assert "after" not in repr(RUN) + page


def test_a_run_that_time_cut_short_says_how_much_was_done() -> None:
    lines = replace(RUN, epochs=3, best_epoch=3, planned_epochs=40.0).summary().splitlines()
    assert lines[1].startswith("the time was over in epoch 3 of 40: ")


def test_a_run_without_epochs_names_none() -> None:
    run = replace(RUN, epochs=0, best_epoch=None)
    assert "epoch" not in run.summary()
    assert "epoch" not in repr(run)
