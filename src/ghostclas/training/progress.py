"""The progress lines of a run: a live line during an epoch, and one that stays after it."""

from __future__ import annotations

from typing import Any

from ghostclas.progress import duration, rounded_rate


def step_line(
    epoch: int,
    epochs: float,
    done: float,
    *,
    loss: float,
    top1: float | None,
    rate: float,
    waiting: float,
    left: float,
) -> str:
    """Return the live line: ``done`` is a fraction of the epoch, ``rate`` in img/s, ``left`` in seconds.

    ``top1`` is that of the last validation, if there was one.
    """
    accuracy = f"top-1 {top1:.2f}  " if top1 is not None else ""
    filled = round(done * 20)
    bar = "━" * filled + "╌" * (20 - filled)
    return (
        f"epoch {epoch}/{epochs:g} {bar} {done:4.0%}  loss {loss:.3f}  {accuracy}{rounded_rate(rate)} img/s  "
        f"data {waiting:.0%}  {duration(left)} left"
    )


def epoch_line(entry: dict[str, Any], epochs: float, *, left: float) -> str:
    """Return the line that stays after a finished epoch."""
    accuracy = f"top-1 {entry['top1']:.2f}" if entry.get("top1") is not None else "not validated"
    if "val_loss" in entry:
        accuracy = f"val loss {entry['val_loss']:.3f}  {accuracy}"
    best = " *" if entry.get("best") else ""
    return (
        f"epoch {entry['epoch']}/{epochs:g}  loss {entry['loss']:.3f}  {accuracy}{best}  "
        f"{rounded_rate(entry['images_per_second'])} img/s  data {entry['data_wait']:.0%}  "
        f"lr {entry['lr']:.2g}  {duration(entry['seconds'])}, {duration(left)} left"
    )
