"""Predictions as files: one line of JSON and one row of a table for each photo."""

from __future__ import annotations

import csv
import os
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from ghostclas.errors import UsageError
from ghostclas.spec import Prediction


class PredictionFiles:
    """``predictions.jsonl`` and ``predictions.csv`` in a folder, for as many predictions as there are.

    A context manager. The two files appear when its block ends, whole and on the disk; when the block raises,
    whatever was there before stays as it was.

    The ``.jsonl`` has one prediction object a line. The ``.csv`` has ``file, unknown, error, message`` and
    then ``label_1, score_1, index_1`` and so on for ``top`` labels, best first.
    """

    def __init__(self, folder: str | os.PathLike[str], top: int = 5) -> None:
        self._folder = Path(folder)
        self._top = top
        self._open: dict[Path, TextIO] = {}

    def __enter__(self) -> Self:
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            for name in ("predictions.jsonl", "predictions.csv"):
                draft = self._folder / f".{name}.{os.getpid()}"
                self._open[self._folder / name] = draft.open("w", encoding="utf-8", newline="")
        except OSError as error:
            self._discard()
            raise UsageError(f"cannot write to {self._folder}: {error.strerror}") from None
        self._jsonl, table = self._open.values()
        self._csv = csv.writer(table, lineterminator="\n")
        ranks = range(1, self._top + 1)
        columns = [f"{name}_{rank}" for rank in ranks for name in ("label", "score", "index")]
        self._csv.writerow(["file", "unknown", "error", "message", *columns])
        return self

    def write(self, prediction: Prediction) -> None:
        """Add one prediction to both files."""
        error = prediction.error
        self._jsonl.write(prediction.model_dump_json() + "\n")
        self._csv.writerow(
            [
                prediction.file or "",
                str(prediction.unknown).lower(),
                error.code if error else "",
                error.message if error else "",
                *(cell for best in prediction.top for cell in (best.label, f"{best.score:.6g}", best.index)),
            ]
        )

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._discard()
            return
        for file in self._open.values():
            file.flush()
            os.fsync(file.fileno())
            file.close()
        for target, file in self._open.items():
            Path(file.name).replace(target)

    def _discard(self) -> None:
        for file in self._open.values():
            file.close()
            Path(file.name).unlink(missing_ok=True)
