"""The plot of a run: loss, accuracy and learning rate over the epochs."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ghostclas.extras import require
from ghostclas.files import replacing

SHARE = 0.05
"""Drawing takes at most this share of a run's time."""

TRAIN, VAL, RATE = "#2458a6", "#c8501e", "#8a8a8a"


class Curves:
    """The plot at ``path`` of a run that goes on; short epochs are drawn several at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._next = 0.0

    def update(self, entries: Sequence[dict[str, Any]]) -> None:
        """Plot the ``entries`` of the log, unless that would take more than ``SHARE`` of the time."""
        began = time.monotonic()
        if began >= self._next:
            draw_curves(entries, self.path)
            ended = time.monotonic()
            self._next = ended + (ended - began) / SHARE


def draw_curves(entries: Sequence[dict[str, Any]], path: Path) -> None:
    """Plot the ``entries`` of the log as a PNG at ``path``; write nothing if there are none."""
    if not entries:
        return
    require("matplotlib", extra="train")
    from matplotlib.figure import Figure
    from matplotlib.ticker import MaxNLocator

    figure = Figure(figsize=(10, 3.6), layout="constrained")
    left, right = figure.subplots(1, 2)
    epochs = [entry["epoch"] for entry in entries]
    left.plot(epochs, [entry["loss"] for entry in entries], color=TRAIN, marker=".", label="training loss")
    rate = left.twinx()
    rate.plot(epochs, [entry["lr"] for entry in entries], color=RATE, lw=1, ls="--")
    rate.set_ylabel("learning rate (dashed)", color=RATE)
    left.set_ylabel("training loss", color=TRAIN)
    validated = [entry for entry in entries if "top1" in entry]
    at = [entry["epoch"] for entry in validated]
    right.plot(at, [entry["top1"] for entry in validated], color=VAL, marker=".", label="top-1")
    if "top5" in validated[-1]:
        top5 = [entry["top5"] for entry in validated]
        right.plot(at, top5, color=VAL, alpha=0.5, marker=".", label="top-5")
    best = max(validated, key=lambda entry: entry["top1"])
    right.annotate(
        f"{best['top1']:.2f}",
        (best["epoch"], best["top1"]),
        textcoords="offset points",
        xytext=(0, 6),
        ha="center",
        color=VAL,
    )
    right.set_ylabel("validation accuracy, %")
    right.legend(frameon=False)
    for axes in (left, right):
        axes.set_xlabel("epoch")
        axes.grid(alpha=0.25)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.spines[["top"]].set_visible(False)
    right.spines[["right"]].set_visible(False)
    with replacing(path, durable=False) as part:
        figure.savefig(part, dpi=130, format="png")
