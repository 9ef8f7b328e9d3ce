"""``ghostclas predict --sort`` and ``--undo``: photos into folders by label, and back."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, cast

from ghostclas.cli.console import note, say, table, warn_of_first
from ghostclas.errors import DataError, UsageError
from ghostclas.progress import console_progress

if TYPE_CHECKING:
    from ghostclas.prediction import Sorting
    from ghostclas.prediction.placing import How
    from ghostclas.spec import Prediction


class Order(NamedTuple):
    """How photos are sorted, and where to."""

    folder: Path
    how: How
    min_score: float


def asked_order(folder: Path | None, min_score: float | None, **chosen: bool) -> Order | None:
    """Return what ``--sort`` asks for, checked; ``chosen`` are ``--copy``, ``--move`` and ``--link``.

    Raises:
        UsageError: options that mean nothing together, or as ``prediction.check_sorting``.
    """
    given = [name for name, wanted in chosen.items() if wanted]
    if len(given) > 1:
        raise UsageError(f"give one of {' and '.join(f'--{name}' for name in given)}")
    if folder is None:
        if given or min_score is not None:
            option = f"--{given[0]}" if given else "--min-score"
            raise UsageError(f"{option} says how photos are sorted: add --sort DIR")
        return None
    from ghostclas.prediction import check_sorting
    from ghostclas.prediction.sorting import MIN_SCORE

    how = cast("How", given[0] if given else "copy")
    order = Order(folder, how, MIN_SCORE if min_score is None else min_score)
    check_sorting(folder, how=order.how, min_score=order.min_score)
    return order


def sort_answers(answers: Sequence[tuple[Path, Prediction]], order: Order, classes: Sequence[str]) -> Sorting:
    """Sort the photos, and say how many went where and which stay."""
    from ghostclas.prediction import sort_photos
    from ghostclas.prediction.sorting import UNSURE

    folder, how, min_score = order
    progress = console_progress("photos sorted")
    try:
        sorting = sort_photos(answers, folder, classes, how=how, min_score=min_score, progress=progress)
    except KeyboardInterrupt:
        note(f"stopped; to take back what is in {folder}: ghostclas predict --undo {folder}")
        raise
    if sorting.folders:
        rows = sorted(sorting.folders.items(), key=lambda item: (item[0] == UNSURE, -item[1], item[0]))
        did = {"copy": "copied", "move": "moved", "link": "linked"}[how]
        say(table(["folder", did], [[name, f"{count:,}"] for name, count in rows], right=(1,)))
    if sorting.already:
        note(
            f"{sorting.already:,} photos are in {folder} already, as {sorting.record} says; they stay there; "
            "to sort anew, undo first"
        )
    warn_of_first([f"{path} stays where it is: {why}" for path, why in sorting.failed])
    return sorting


def undo_sort(path: Path, *, alone: bool) -> None:
    """Take a sorting back; ``alone`` says that nothing else was asked for.

    Raises:
        UsageError: something else was.
        DataError: some files stay.
    """
    from ghostclas.prediction import undo_sorting

    if not alone:
        raise UsageError("--undo takes a sorting back and labels nothing: give it alone")
    undoing = undo_sorting(path)
    warn_of_first([f"{target} stays: {why}" for target, why in undoing.kept])
    say(f"{undoing.undone:,} taken back, {len(undoing.kept):,} kept")
    if undoing.kept:
        raise DataError(f"{len(undoing.kept):,} files stay as they are, and in the list")
