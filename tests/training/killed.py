"""Trains in a process of its own that kills itself with SIGKILL at a chosen instant.

Called as ``run_killed``, or under torchrun as a script:

    python killed.py CONFIG OUTPUT POINT COUNT RANK

``POINT`` is ``step`` (after the weights were updated), ``write`` (a checkpoint is half on disk), ``rename``
(the previous checkpoint was put aside, the new one is not in place) or ``never``; ``COUNT`` says at which
occurrence. Only process ``RANK`` kills itself.
"""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from ghostclas.ssld import train_student
from ghostclas.ssld.run_config import SsldConfig, wants_teacher
from ghostclas.training import TrainConfig, ema, resolve_config, train
from ghostclas.training.config import dump_config

# One process imports everything once, and those that are killed are its forks. A fork of the process of the
# tests could not train: autograd has threads there.
FORKS = multiprocessing.get_context("forkserver")
FORKS.set_forkserver_preload([__name__, "ghostclas.ssld.pipeline"])


def run_killed(config: TrainConfig, output: Path, point: str, count: int) -> int:
    """Train, or continue the run in ``output``, in a process that dies at ``point``; return its exit code."""
    document = output.with_suffix(".yaml")
    document.write_text(dump_config(config))
    process = FORKS.Process(target=main, args=(str(document), str(output), point, count))
    process.start()
    process.join()
    return process.exitcode or 0


def kill_on(owner: Any, name: str, count: int, *, before: Callable[..., None] | None = None) -> None:
    """Replace ``owner.name`` by itself followed by a SIGKILL at call number ``count``."""
    original, calls = getattr(owner, name), [0]

    def wrapped(*args: Any, **kwargs: Any) -> Any:
        calls[0] += 1
        if calls[0] == count and before:
            before(*args, **kwargs)
        result = None if calls[0] == count and before else original(*args, **kwargs)
        if calls[0] == count:
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, wrapped)


def half_written(state: Any, file: Any) -> None:
    """Put the first bytes of a checkpoint on disk."""
    file.write(b"PK\x03\x04 half a checkpoint")
    file.flush()


def main(config: str, output: str, point: str, count: int, rank: int = 0) -> None:
    torch.set_num_threads(1)
    if int(os.environ.get("RANK", 0)) != rank:
        point = "never"
    if point == "step":
        kill_on(ema.EMA, "update", count)
    elif point == "write":
        kill_on(torch, "save", count, before=half_written)
    elif point == "rename":
        kill_on(Path, "replace", count)
    run = Path(output)
    resume = (run / "config.yaml").exists()
    if wants_teacher(config):
        train_student(config=resolve_config(config, [], schema=SsldConfig), output=run, resume=resume)
    else:
        train(config=resolve_config(config, []), output=run, resume=resume)


if __name__ == "__main__":
    document, directory, instant, occurrence, process_rank = sys.argv[1:]
    main(document, directory, instant, int(occurrence), int(process_rank))
