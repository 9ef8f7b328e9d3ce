"""Failures of loader processes, turned into errors of the run."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager

from torch import multiprocessing

from ghostclas.errors import GhostclasError, TrainingError
from ghostclas.training.input.shared_memory import ADVICE, FOLDER

# The time that a loader process may take for one batch: more than slow storage needs.
STUCK_SECONDS = 600.0


class DeadWorkerError(RuntimeError):
    """A loader process ended before its time."""


class StuckWorkerError(RuntimeError):
    """A loader process has not answered for ``STUCK_SECONDS``."""


@contextmanager
def loader_failures_explained() -> Iterator[None]:
    """Turn the death or the silence of a loader process into a ``TrainingError``.

    A ``DataLoader`` adds a traceback to the errors of its processes; it is removed from this package's own.
    """
    try:
        yield
    except GhostclasError as error:
        name = re.escape(f"{type(error).__module__}.{type(error).__qualname__}: ")
        told = re.split(rf"^{name}", str(error), flags=re.MULTILINE)
        if len(told) == 1:
            raise
        raise type(error)(told[-1].strip()) from None
    except OSError as error:
        if FOLDER not in str(error) and error.errno != 28:
            raise
        raise TrainingError(f"shared memory ({FOLDER}) is full\n       {ADVICE}") from error
    except RuntimeError as error:
        text = str(error)
        if "shared memory" in text or "Bus error" in text or "SIGBUS" in text:
            raise TrainingError(f"shared memory ({FOLDER}) is full\n       {ADVICE}") from error
        if isinstance(error, StuckWorkerError) or "DataLoader timed out" in text:
            raise TrainingError(
                f"no batch came from the data loader in {STUCK_SECONDS:g} seconds: the storage of the images "
                "does not answer\n       when it does, continue with --resume"
            ) from error
        if isinstance(error, DeadWorkerError) or "DataLoader worker" in text:
            raise TrainingError(
                f"a data loader worker died: {text.splitlines()[0]}\n       {_advice()}"
            ) from error
        raise


def _advice() -> str:
    memory = "it may have run out of memory; continue with --resume and fewer --set data.workers=N"
    if multiprocessing.get_start_method() == "fork":
        return memory
    return f"a script that trains needs a line \"if __name__ == '__main__':\" before the call; else {memory}"
