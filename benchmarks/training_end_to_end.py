"""The cost of reading photos in training: GhostNet x1.0 on real JPEGs, compared with one batch in memory.

    python benchmarks/training_end_to_end.py ../shared/data/clothing [--rounds 15]

Each round trains some steps on one synthetic batch, then on photos from the training loader (decoded, cropped
at random, flipped), then only takes batches from the loader; the order changes every time. A round's figure
is its median step, which a short interruption does not affect. Writes results/training_end_to_end.md.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import sys
import time
from collections.abc import Iterator
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from torch.nn import functional as F

from ghostclas.bench.machine import describe_machine
from ghostclas.data import open_source
from ghostclas.models import create_model
from ghostclas.models.cpu import compile_training, speed_up
from ghostclas.training.input.images import Batch, TrainingImages
from ghostclas.training.input.loader import TrainingLoader
from ghostclas.training.input.sampling import ShardedBatches, epoch_indices
from ghostclas.training.input.transforms import AugmentConfig
from ghostclas.training.memory import keep_freed_memory
from ghostclas.zoo import resolve_spec

RESULTS = Path(__file__).parent / "results" / "training_end_to_end.md"
MEAN, STD = (255 * torch.tensor(v).view(1, 3, 1, 1) for v in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))


def photos(folder: str, batch: int, resolution: int, workers: int) -> Iterator[Batch]:
    """Yield training batches for ever."""
    source = open_source(folder, "train")
    images = TrainingImages(source, AugmentConfig(crop_scale=(0.25, 1.0), flip=0.5), resolution)
    labels = np.array([sample.label for sample in source.samples], dtype=np.int64)
    epoch = 0
    while True:
        indices = epoch_indices(labels, seed=0, epoch=epoch)
        whole = indices[: len(indices) // batch * batch]
        yield from TrainingLoader(workers=workers, device="cpu").epoch(images, ShardedBatches(whole, batch))
        epoch += 1


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--rounds", type=int, default=15)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--workers", type=int, default=os.cpu_count())
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="bf16")
    arguments = parser.parse_args()
    keep_freed_memory()
    torch.manual_seed(0)
    torch.set_num_threads(arguments.threads)
    network = create_model(resolve_spec("ghostnet_x1_0")).to(memory_format=torch.channels_last).train()
    speed_up(network, compiled=True)
    forward = compile_training(network)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9, nesterov=True)
    real = photos(arguments.data, arguments.batch, arguments.resolution, arguments.workers)
    side = arguments.resolution
    fixed = torch.randint(0, 256, (arguments.batch, 3, side, side), dtype=torch.uint8).contiguous(
        memory_format=torch.channels_last
    )
    labels = torch.randint(0, 1000, (arguments.batch,))

    def step(images: torch.Tensor, targets: torch.Tensor) -> None:
        pixels = ((images.float() - MEAN) / STD).contiguous(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16, enabled=arguments.precision == "bf16"):
            logits = forward(pixels)
        F.cross_entropy(logits.float(), targets, label_smoothing=0.1).backward()
        optimizer.step()
        optimizer.zero_grad()

    for _ in range(3):
        step(fixed, labels)
    next(real)
    ways = ["synthetic", "photos", "loader"]
    found: dict[str, list[float]] = {way: [] for way in ways}
    for number in range(arguments.rounds):
        random.shuffle(ways)
        for way in ways:
            times = []
            for _ in range(arguments.steps):
                began = time.perf_counter()
                batch = None if way == "synthetic" else next(real)
                if way != "loader":
                    step(*((batch.images, batch.labels) if batch else (fixed, labels)))
                times.append(time.perf_counter() - began)
            found[way].append(arguments.batch / statistics.median(times))
        shown = ", ".join(f"{way} {rates[-1]:.1f}" for way, rates in found.items())
        print(f"round {number + 1}: {shown} images a second", file=sys.stderr)
    tunables = f"GLIBC_TUNABLES={value} " if (value := os.environ.get("GLIBC_TUNABLES")) else ""
    below = [100 * (1 - p / s) for p, s in zip(found["photos"], found["synthetic"], strict=True)]
    first, _, last = statistics.quantiles(below, n=4)
    text = "\n".join(
        [
            "# Training on real JPEGs",
            "",
            f"GhostNet x1.0, {side} x {side}, batch {arguments.batch}, {arguments.precision}, compiled, "
            f"channels_last, {arguments.threads} threads, loader processes: {arguments.workers}; "
            "clothing-dataset-small, photos with a short side of 256. "
            f"Median of {arguments.rounds} interleaved rounds (smallest to largest); a round's figure is the "
            f"median of {arguments.steps} steps. torch {version('torch')}; {describe_machine()}.",
            "",
            "| | images a second |",
            "| --- | --- |",
            *(
                f"| {name} | {statistics.median(found[way]):.1f} "
                f"({min(found[way]):.1f} to {max(found[way]):.1f}) |"
                for way, name in (
                    ("synthetic", "one synthetic batch again and again"),
                    ("photos", "photos through the loader"),
                    ("loader", "the loader alone"),
                )
            ),
            "",
            f"On photos: {statistics.median(below):.1f} % below the synthetic rate of the same round "
            f"(middle half: {first:.1f} to {last:.1f}).",
            "",
            f"`{tunables}python benchmarks/training_end_to_end.py clothing "
            f"--rounds {arguments.rounds} --steps {arguments.steps} --precision {arguments.precision}` "
            "repeats it.",
            "",
        ]
    )
    print(text)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(text)


if __name__ == "__main__":
    main()
