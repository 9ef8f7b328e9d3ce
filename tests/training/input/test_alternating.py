"""A CPU's loader ends with its epoch and with its process."""

import multiprocessing
import subprocess
import sys
import time
from pathlib import Path

import numpy as np

from ghostclas.training.input.images import TrainingImages
from ghostclas.training.input.loader import TrainingLoader
from ghostclas.training.input.sampling import ShardedBatches, epoch_indices
from ghostclas.training.input.transforms import AugmentConfig
from tests.training.photos import MemorySource, photos


def test_stopping_in_the_middle_of_an_epoch_ends_the_workers() -> None:
    images = TrainingImages(MemorySource(photos(classes=2, each=6)), AugmentConfig(), 32)
    batches = ShardedBatches(epoch_indices(np.repeat([0, 1], 6), seed=0, epoch=0), 2)
    for _ in TrainingLoader(workers=2, device="cpu").epoch(images, batches):
        assert len(multiprocessing.active_children()) == 2
        break
    assert not multiprocessing.active_children()


def test_workers_end_when_the_training_process_is_killed() -> None:
    code = """
import multiprocessing, os, signal
from tests.training.input.loading import loading
for batch in loading():
    print(*(child.pid for child in multiprocessing.active_children()), flush=True)
    os.kill(os.getpid(), signal.SIGKILL)
"""
    ended = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=300)
    pids = [int(pid) for pid in ended.stdout.split()]
    assert len(pids) == 3
    deadline = time.monotonic() + 20
    while any(map(_runs, pids)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert not any(map(_runs, pids))


def _runs(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
