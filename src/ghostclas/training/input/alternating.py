"""Training batches for a CPU that also computes the steps: decoding and steps take turns on all cores.

A step divides its work evenly among the cores and waits for the slowest of them. A photo that is decoded
during a step therefore delays the whole step. So all cores decode the photos of a batch between two steps.
During a step the workers only read the next files, which needs hardly any processor time.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import suppress
from itertools import pairwise
from multiprocessing import parent_process
from multiprocessing.connection import wait
from typing import NamedTuple

import torch
from torch import Tensor, multiprocessing

from ghostclas.errors import GhostclasError
from ghostclas.training.input import failures
from ghostclas.training.input.failures import DeadWorkerError, StuckWorkerError
from ghostclas.training.input.images import Batch, ExampleInfo, TrainingImages, to_batch
from ghostclas.training.input.sampling import SeededIndex

if sys.platform == "win32":
    from multiprocessing.connection import PipeConnection as Connection
else:
    from multiprocessing.connection import Connection


class AlternatingLoader:
    """Iterates over ``batches``, all of one size; each is prepared when it is asked for.

    The batches equal those of a ``DataLoader``, and their memory is not used again.

    Raises, while iterating:
        DeadWorkerError: a process was killed, or ended by an error whose traceback it has printed.
        StuckWorkerError: a process does not answer.
        RuntimeError: there is not enough shared memory.
        GhostclasError: what the source raised.
    """

    def __init__(self, images: TrainingImages, batches: Iterable[list[SeededIndex]], *, workers: int) -> None:
        self.images, self.batches, self.workers = images, batches, workers

    def __iter__(self) -> Iterator[Batch]:
        shares = (_split(batch, self.workers) for batch in self.batches)
        current = next(shares, None)
        if current is None:
            return
        side = self.images.resolution
        pixels = torch.empty(sum(map(len, current)), side, side, 3, dtype=torch.uint8)
        pixels.share_memory_()  # type: ignore[no-untyped-call]
        workers: list[_Worker] = []
        try:
            for part, share in zip(
                torch.split(pixels, [len(share) for share in current]), current, strict=True
            ):
                workers.append(_start(self.images, part, share))
            while current is not None:
                current = next(shares, None)
                yield _prepare(workers, pixels, current)
        finally:
            for worker in workers:
                worker.process.terminate()
            for worker in workers:
                worker.process.join()
                worker.pipe.close()


class _Worker(NamedTuple):
    process: multiprocessing.Process
    pipe: Connection


def _split(batch: list[SeededIndex], workers: int) -> list[list[SeededIndex]]:
    """Return one share for each worker; their sizes differ by at most one."""
    bounds = [len(batch) * number // workers for number in range(workers + 1)]
    return [batch[begin:end] for begin, end in pairwise(bounds)]


def _start(images: TrainingImages, pixels: Tensor, first: list[SeededIndex]) -> _Worker:
    ours, theirs = multiprocessing.Pipe()
    process = multiprocessing.Process(target=_work, args=(images, pixels, theirs, first), daemon=True)
    try:
        process.start()
    except (BrokenPipeError, EOFError):
        # The process died before it read its arguments.
        raise DeadWorkerError("a process ended while it was starting") from None
    # A dead worker's pipe breaks only once this process has closed the worker's end, too.
    theirs.close()
    return _Worker(process, ours)


def _prepare(
    workers: Sequence[_Worker], pixels: Tensor, upcoming: Sequence[list[SeededIndex]] | None
) -> Batch:
    """Return the batch whose files the workers have read; they then read those of ``upcoming``."""
    info: list[ExampleInfo] = []
    try:
        for number, worker in enumerate(workers):
            # A worker may have sent the reason before it closed its pipe.
            with suppress(OSError):
                worker.pipe.send(upcoming[number] if upcoming else None)
        for worker in workers:
            if not worker.pipe.poll(failures.STUCK_SECONDS):
                raise StuckWorkerError(f"process {worker.process.pid} does not answer")
            answer = worker.pipe.recv()
            if isinstance(answer, GhostclasError):
                raise answer
            info += answer
    except (EOFError, OSError):
        raise DeadWorkerError(_exit_codes(workers)) from None
    return to_batch(pixels.clone(), info)


def _exit_codes(workers: Sequence[_Worker]) -> str:
    for worker in workers:
        worker.process.join(timeout=1)
    dead = [worker.process for worker in workers if worker.process.exitcode is not None]
    return ", ".join(f"process {process.pid} ended {_ending(process.exitcode or 0)}" for process in dead)


def _ending(exit_code: int) -> str:
    return f"by {signal.Signals(-exit_code).name}" if exit_code < 0 else f"with exit code {exit_code}"


def _work(images: TrainingImages, pixels: Tensor, pipe: Connection, share: list[SeededIndex] | None) -> None:
    """Read the files of a share, wait for the next share, prepare the first, and so on."""
    # The training process handles Ctrl-C and ends the workers.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    torch.set_num_threads(1)
    trainer = parent_process()
    assert trainer is not None
    try:
        while share is not None:
            files = [images.read(index) for index in share]
            if trainer.sentinel in wait([pipe, trainer.sentinel]):
                return
            upcoming = pipe.recv()
            info = []
            for number, (index, data) in enumerate(zip(share, files, strict=True)):
                example = images.prepare(index, data)
                pixels[number] = example.image.permute(1, 2, 0)
                info.append(example.info)
            pipe.send(info)
            share = upcoming
    except GhostclasError as error:
        pipe.send(error)
    except ConnectionError:
        # The training process has ended.
        pass
