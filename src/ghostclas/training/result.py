"""What a finished training run hands back. It needs no torch."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ghostclas.evaluation.metrics import wilson_interval
from ghostclas.pages.notebook import html_table
from ghostclas.prediction import Classifier


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run. ``top1`` and ``top5`` are percentages on ``val``, of the bundle itself."""

    path: Path
    bundle: Path
    epochs: int
    """epochs in the log; 0 for a classifier on frozen features"""
    top1: float
    top5: float | None
    bad_images: int
    report: Path | None = None
    images: int | None = None
    """validation images that the accuracy is measured on"""
    best_epoch: int | None = None
    """the epoch whose weights the bundle holds"""
    planned_epochs: float | None = None
    """epochs of the schedule, where the time was over before them"""

    @property
    def metrics(self) -> Mapping[str, float]:
        """Accuracies on ``val`` in percent: ``top1``, and ``top5`` where there are more than five classes."""
        return {"top1": self.top1, **({} if self.top5 is None else {"top5": self.top5})}

    @property
    def interval(self) -> tuple[float, float] | None:
        """The 95 % interval of ``top1`` in percent, from the number of validation images."""
        if not self.images:
            return None
        return wilson_interval(round(self.top1 / 100 * self.images), self.images)

    @cached_property
    def classifier(self) -> Classifier:
        """The run's bundle, opened for prediction the first time that it is asked for."""
        return Classifier.load(self.bundle)

    def __fspath__(self) -> str:
        """Return the run directory: a run can stand wherever a model is named."""
        return str(self.path)

    def __repr__(self) -> str:
        top5 = "" if self.top5 is None else f", top-5 {self.top5:.2f} %"
        return f"<Run {self.path}: top-1 {self.top1:.2f} %{top5}{self._weights()}>"

    def _weights(self) -> str:
        """Return which epoch's weights the bundle has; nothing for a run without epochs."""
        if self.best_epoch is not None:
            return f", with the weights of epoch {self.best_epoch} of {self.epochs}"
        return f" after {self.epochs} epochs" if self.epochs else ""

    def _repr_html_(self) -> str:
        """Show the run in a notebook."""
        figures = {name.replace("top", "top-"): f"{value:.2f} %" for name, value in self.metrics.items()}
        if self.interval:
            figures["95 % interval of top-1"] = f"{self.interval[0]:.0f} to {self.interval[1]:.0f} %"
            figures["images of val"] = f"{self.images:,}"
        return html_table(
            str(self.path),
            {
                **figures,
                "epochs": f"{self.epochs}" + (f", the best is {self.best_epoch}" if self.best_epoch else ""),
                "bundle": str(self.bundle),
                "report": str((self.report or self.path / "report") / "index.html"),
            },
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the run as plain values, for JSON."""
        return {
            **asdict(self),
            "interval": self.interval,
            "path": str(self.path),
            "bundle": str(self.bundle),
            "report": str(self.report or self.path / "report"),
        }

    def summary(self) -> str:
        """Return what a person wants to know, in a few lines."""
        accuracy = f"top-1 {self.top1:.2f} %"
        if self.interval:
            accuracy += f" (95 % interval {self.interval[0]:.0f} to {self.interval[1]:.0f} %)"
        if self.top5 is not None:
            accuracy += f", top-5 {self.top5:.2f} %"
        accuracy += f" on {self.images:,} images of val" if self.images else " on val"
        lines = [accuracy + self._weights()]
        if self.planned_epochs is not None:
            lines.append(
                f"the time was over in epoch {self.epochs} of {self.planned_epochs:g}: a longer --time or "
                "smaller images (--size) teach more"
            )
        lines += [
            f"bundle: {self.bundle}",
            f"report: {(self.report or self.path / 'report') / 'index.html'}",
        ]
        if self.bad_images:
            lines.append(f"{self.bad_images} unreadable images skipped: {self.path / 'bad_images.txt'}")
        return "\n".join(lines)
