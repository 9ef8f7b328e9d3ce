"""Loader processes within the shared memory that there is: fewer of them, or an error, and never silence."""

from __future__ import annotations

import multiprocessing
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ghostclas.spec import PreprocessSpec, ResizeSpec
from ghostclas.training.input import shared_memory
from ghostclas.training.input.images import EvaluationImages
from ghostclas.training.input.loader import evaluation_batches
from ghostclas.training.input.shared_memory import LoaderPlan, SharedMemory
from tests.training.photos import MemorySource, photos

BATCH = 128 * 3 * 224 * 224


def limited(monkeypatch: pytest.MonkeyPatch, free: int | None) -> None:
    monkeypatch.setattr(shared_memory, "free_bytes", lambda: free)


@pytest.mark.parametrize(
    ("free", "plan"),
    [
        (None, LoaderPlan(16, 2)),
        (2**30, LoaderPlan(16, 2)),
        (400 * 2**20, LoaderPlan(16, 1)),
        # What Docker gives.
        (64 * 2**20, LoaderPlan(1, 1)),
        (32 * 2**10, LoaderPlan(0, 0)),
        (0, LoaderPlan(0, 0)),
    ],
)
def test_batches_that_wait_fit_into_shared_memory(
    free: int | None, plan: LoaderPlan, monkeypatch: pytest.MonkeyPatch
) -> None:
    limited(monkeypatch, free)
    assert SharedMemory().plan(16, BATCH, prefetch=2) == plan
    assert free is None or BATCH * (plan.workers * plan.prefetch + 2) <= free or not plan.workers


def test_training_processes_share_it(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 400 * 2**20)
    assert SharedMemory(processes=4).plan(16, BATCH, prefetch=2).workers == 3
    assert SharedMemory(processes=4).holds(16, BATCH)
    assert not SharedMemory(processes=40).holds(16, BATCH)


def test_fewer_processes_are_told_once_with_what_to_do(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 64 * 2**20)
    told: list[str] = []
    memory = SharedMemory(told.append)
    for _ in range(2):
        memory.plan(16, BATCH, prefetch=2)
    (line,) = told
    assert "shared memory (/dev/shm) has 67.1 MB free, enough for 1 of 16 loader processes" in line
    assert "--shm-size=2g" in line
    assert "data.workers=0" in line


def test_without_shared_memory_the_images_come_from_this_process(monkeypatch: pytest.MonkeyPatch) -> None:
    limited(monkeypatch, 32 * 2**10)
    preprocess = PreprocessSpec(resize=ResizeSpec(short_side=36), crop=32)
    images = EvaluationImages(MemorySource(photos(classes=2, each=3)), preprocess)
    # Loaders of tests before may still be ending.
    before = set(multiprocessing.active_children())
    seen = 0
    for batch in evaluation_batches(images, batch_size=4, workers=2, memory=SharedMemory()):
        assert set(multiprocessing.active_children()) <= before
        seen += len(batch.labels)
    assert seen == 6


SMALL_DISK = """
import shutil
import numpy as np
from ghostclas.errors import TrainingError
from ghostclas.spec import PreprocessSpec, ResizeSpec
from ghostclas.training.input import shared_memory
from ghostclas.training.input.images import EvaluationImages, TrainingImages
from ghostclas.training.input.loader import TrainingLoader, evaluation_batches
from ghostclas.training.input.sampling import ShardedBatches, epoch_indices
from ghostclas.training.input.shared_memory import SharedMemory
from ghostclas.training.input.transforms import AugmentConfig
from tests.training.photos import MemorySource, photos

assert shutil.disk_usage("/dev/shm").total == 2 << 20
source = MemorySource(photos(classes=2, each=8))
preprocess = PreprocessSpec(resize=ResizeSpec(short_side=224), crop=224)

def evaluated():
    images = EvaluationImages(source, preprocess)
    batches = evaluation_batches(images, batch_size=8, workers=2, memory=SharedMemory())
    return sum(len(batch.labels) for batch in batches)

def trained(device):
    order = epoch_indices(np.repeat([0, 1], 8), seed=0, epoch=0)
    images = TrainingImages(source, AugmentConfig(), 224)
    loader = TrainingLoader(workers=2, device=device)
    return sum(len(batch.labels) for batch in loader.epoch(images, ShardedBatches(order, 16)))

assert (evaluated(), trained("cpu"), trained("cuda")) == (16, 16, 16)
# Something else may fill it between the plan and the batches.
shared_memory.free_bytes = lambda: None
for work in (evaluated, lambda: trained("cpu"), lambda: trained("cuda")):
    try:
        work()
    except TrainingError as error:
        print(error)
"""


def can_mount() -> bool:
    if not sys.platform.startswith("linux") or os.geteuid() != 0 or not shutil.which("unshare"):
        return False
    command = ["unshare", "-m", "mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", "/dev/shm"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


def test_a_small_shared_memory_that_is_real_never_stops_training_without_a_word() -> None:
    if not can_mount():
        pytest.skip("needs root, and unshare that may mount")
    mounted = 'mount -t tmpfs -o size=2m tmpfs /dev/shm && exec "$0" -c "$1"'
    ended = subprocess.run(
        ["unshare", "-m", "sh", "-c", mounted, sys.executable, SMALL_DISK],
        cwd=Path(__file__).parents[3],
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("shared memory (/dev/shm) is full") == 3, ended.stdout
    assert ended.stdout.count("--shm-size=2g") == 3
