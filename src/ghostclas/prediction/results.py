"""Files of predictions: one line of JSON and one row of a table for each photo."""

from __future__ import annotations

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from types import TracebackType
from typing import Any, Self, TextIO, TypeVar

from ghostclas.bundle import Bundle
from ghostclas.errors import UsageError
from ghostclas.files import LockedError, flush, lock, replacing, sweep_drafts, write_text
from ghostclas.spec import Prediction
from ghostclas.spreadsheet import inert, row_writer

LINES = "predictions.jsonl"
TABLE = "predictions.csv"
PARTIAL = "predictions.partial.jsonl"
MODEL = "predictions.model.json"

Source = TypeVar("Source", bound=str | os.PathLike[str])


class PredictionFiles:
    """``predictions.jsonl`` and ``predictions.csv`` in a folder, for any number of predictions.

    A context manager. Each prediction goes to ``predictions.partial.jsonl`` at once. The two files appear,
    whole and flushed to disk, when the block ends. If the block raises or the process dies, the partial file
    keeps every prediction, and ``resume`` continues it. Finished files are never replaced: without ``resume``
    a folder that has them is refused; with it, missing predictions are added.

    The ``.jsonl`` has one prediction object a line. The ``.csv`` has ``file, unknown, error, message`` and
    then ``label_1, score_1, index_1`` and so on for ``top`` labels, best first; every row has all of these
    cells, empty where there is no such label. Text that a spreadsheet would
    take for a formula has ``'`` in front there, see :mod:`ghostclas.spreadsheet`. ``predictions.model.json``
    names the model of the predictions.
    """

    def __init__(
        self, folder: str | os.PathLike[str], top: int = 5, *, resume: bool = False, excel: bool = False
    ) -> None:
        """Name the folder and the number of labels.

        ``excel`` puts a byte order mark before the table, without which Excel misreads letters beyond ASCII.
        """
        self._encoding = "utf-8-sig" if excel else "utf-8"
        self._folder = Path(folder)
        self._top = top
        self._resume = resume
        self._answered: Counter[str] = Counter()
        self._escaped: dict[str, str] = {}
        self.count = 0
        """The number of predictions, those of earlier runs included."""

    def __enter__(self) -> Self:
        """Open the partial file.

        Raises:
            UsageError: the folder cannot be written, it has predictions and ``resume`` is not given, or
                another process writes there.
        """
        self._partial = self._folder / PARTIAL
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            self._lock = lock(self._folder / ".predictions.lock")
        except LockedError as error:
            raise UsageError(f"{self._folder} is being written: {error}") from None
        except OSError as error:
            raise self._cannot_write(error) from None
        sweep_drafts(self._folder)
        try:
            self._lines = self._open()
        except OSError as error:
            self._lock.release()
            raise self._cannot_write(error) from None
        except UsageError:
            self._lock.release()
            raise
        return self

    def require_model(self, bundle: Bundle) -> None:
        """Record the model of these predictions.

        Raises:
            UsageError: earlier predictions come from another model, or have another number of labels.
        """
        manifest = bundle.manifest
        wanted = {
            "name": manifest.name,
            "label_hash": manifest.label_hash,
            "sha256": bundle.file().entry.sha256,
            "top": self._top,
        }
        path = self._folder / MODEL
        try:
            if self.count and path.is_file():
                found = json.loads(path.read_text(encoding="utf-8"))
                differing = [key for key, value in wanted.items() if found.get(key) != value]
                if differing:
                    was = ", ".join(f"{key} {found.get(key)!r}, now {wanted[key]!r}" for key in differing)
                    raise UsageError(
                        f"the answers in {self._folder} are of another model or setting ({was}); "
                        "choose another --output"
                    )
            else:
                write_text(path, json.dumps(wanted, indent=1) + "\n")
        except OSError as error:
            raise self._cannot_write(error) from None
        except ValueError:
            raise UsageError(f"{path} is damaged; delete it if the answers are of this model") from None

    def remaining(self, sources: Iterable[Source]) -> Iterator[Source]:
        """Yield the photos without a prediction, lazily; a photo that is named twice gets two."""
        left = self._answered.copy()
        for source in sources:
            text = source if isinstance(source, str) else source.__fspath__()
            name = text.encode("utf-8", "backslashreplace").decode()
            if left[name] > 0:
                left[name] -= 1
                if name != text:
                    self._escaped[name] = text
            else:
                yield source

    def earlier(self, count: int) -> Iterator[tuple[Path, Prediction]]:
        """Yield the first ``count`` predictions, those of earlier runs, each with the path of its photo.

        The true path of a name that is not UTF-8 is known once :meth:`remaining` has seen it.
        """
        with self._partial.open(encoding="utf-8", newline="\n") as lines:
            for line in islice(lines, count):
                prediction = Prediction.model_validate_json(line)
                name = prediction.file or ""
                yield Path(self._escaped.get(name, name)), prediction

    def write(self, prediction: Prediction) -> None:
        """Add one prediction.

        Raises:
            UsageError: the disk is full or gone; earlier predictions are kept.
        """
        line = prediction.model_dump_json() + "\n"
        try:
            self._lines.write(line)
        except OSError as error:
            raise self._cannot_write(error) from None
        self.count += 1

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        with self._lock:
            if kind is not None:
                # A full disk refuses to flush the buffer, too.
                with suppress(OSError):
                    self._lines.close()
                if not self.count:
                    self._partial.unlink(missing_ok=True)
                return
            try:
                self._lines.close()
                with (
                    replacing(self._folder / TABLE) as table,
                    table.open("w", encoding=self._encoding, newline="") as to,
                ):
                    self._write_table(to)
                # Whole already, and the only copy: no draft may hold it, since drafts are swept after a kill.
                flush(self._partial)
                self._partial.replace(self._folder / LINES)
                flush(self._folder)
            except OSError as problem:
                raise self._cannot_write(problem) from None

    def _open(self) -> TextIO:
        finished = self._folder / LINES
        if not self._resume:
            for path in (finished, self._partial, self._folder / TABLE):
                if path.exists():
                    raise UsageError(
                        f"{path} is there from an earlier run; add --resume to answer the photos that it "
                        "lacks, or choose another --output"
                    )
        elif finished.is_file() and not self._partial.exists():
            with replacing(self._partial) as copy:
                shutil.copyfile(finished, copy)
        if self._partial.exists():
            self._read_answers()
        # Line buffering: a process that is killed loses no complete line.
        return self._partial.open("a", encoding="utf-8", newline="", buffering=1)

    def _read_answers(self) -> None:
        """Count the photos that have a prediction, and cut off an incomplete last line."""
        complete = 0
        with self._partial.open("rb+") as lines:
            for number, line in enumerate(lines, 1):
                if not line.endswith(b"\n"):
                    break
                try:
                    file = json.loads(line)["file"]
                except (ValueError, KeyError, TypeError):
                    raise UsageError(
                        f"line {number} of {self._partial} is no prediction; delete the file to begin again"
                    ) from None
                complete += len(line)
                self.count += 1
                if file is not None:
                    self._answered[file] += 1
            lines.truncate(complete)

    def _write_table(self, to: TextIO) -> None:
        write = row_writer(to)
        ranks = range(1, self._top + 1)
        columns = [f"{name}_{rank}" for rank in ranks for name in ("label", "score", "index")]
        header = ["file", "unknown", "error", "message", *columns]
        write(header)
        with self._partial.open(encoding="utf-8", newline="\n") as lines:
            for line in lines:
                cells = _row(Prediction.model_validate_json(line))
                write([*cells, *[""] * (len(header) - len(cells))])

    def _cannot_write(self, error: OSError) -> UsageError:
        kept = f"; {self.count} answers are kept there: mend that and add --resume" if self.count else ""
        return UsageError(f"cannot write to {self._folder}: {error.strerror}{kept}")


def _row(prediction: Prediction) -> list[Any]:
    error = prediction.error
    return [
        inert(prediction.file or ""),
        str(prediction.unknown).lower(),
        error.code if error else "",
        inert(error.message) if error else "",
        *(cell for best in prediction.top for cell in (inert(best.label), f"{best.score:.6g}", best.index)),
    ]
