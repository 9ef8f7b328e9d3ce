"""The plot of a run: loss, accuracy and learning rate over the epochs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ghostclas.evaluation.logs import best_entry, column, top1_line
from ghostclas.extras import require
from ghostclas.files import replacing

SHARE = 0.05
"""Drawing takes at most this share of a run's time."""

TRAIN, VAL, RATE = "#2458a6", "#c8501e", "#8a8a8a"


class Curves:
    """The plot at ``path`` of a run that goes on; short epochs are drawn several at a time."""

    def __init__(self, path: Path, *, val_images: int | None = None) -> None:
        self.path = path
        self._val_images = val_images
        self._next = 0.0

    def update(self, entries: Sequence[dict[str, Any]]) -> None:
        """Plot the ``entries`` of the log, unless that would take more than ``SHARE`` of the time."""
        began = time.monotonic()
        if began >= self._next:
            draw_curves(entries, self.path, val_images=self._val_images)
            ended = time.monotonic()
            self._next = ended + (ended - began) / SHARE


def draw_curves(entries: Sequence[dict[str, Any]], path: Path, *, val_images: int | None = None) -> None:
    """Plot the ``entries`` of the log as a PNG at ``path``; write nothing if there are none.

    Top-1 has an axis of its own, and the 95 % interval of a measurement on ``val_images`` around it.
    """
    if not entries:
        return
    require("matplotlib", extra="train")
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    left.plot(*_across(column(entries, "loss")), color=TRAIN, marker=".", label="training")
    if validated := column(entries, "val_loss"):
        left.plot(*_across(validated), color=VAL, marker=".", label="validation")
        left.legend(frameon=False)
    rate = left.twinx()
    rate.plot(*_across(column(entries, "lr")), color=RATE, lw=1, ls="--")
    rate.set_ylabel("learning rate (dashed)", color=RATE)
    left.set_ylabel("loss" if validated else "training loss", color="black" if validated else TRAIN)
    top1 = top1_line("top-1", entries, val_images)
    right.plot(*_across(top1.points), color=VAL, marker=".")
    if top1.low:
        right.fill_between([x for x, _ in top1.points], top1.low, top1.high, color=VAL, alpha=0.15, lw=0)
    if best := best_entry(entries):
        right.annotate(
            f"{best['top1']:.2f}",
            (best["epoch"], best["top1"]),
            textcoords="offset points",
            xytext=(0, 6),
            ha="center",
            color=VAL,
        )
    images = f" on {val_images:,} images" if val_images else ""
    right.set_ylabel(f"validation top-1{images}, %")
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.25)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top"]].set_visible(False)
    right.spines[["right"]].set_visible(False)
    with replacing(path, durable=False) as part:
        figure.savefig(part, dpi=130, format="png")


def _across(points: Sequence[tuple[float, float]]) -> tuple[list[float], list[float]]:
    return [x for x, _ in points], [y for _, y in points]
