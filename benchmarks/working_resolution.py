"""The training resolution that gives most accuracy in a given time, on Tiny-ImageNet's 64-pixel images.

    python benchmarks/working_resolution.py tiny-imagenet-200.zip 64 26
    python benchmarks/working_resolution.py tiny-imagenet-200.zip 128 8

trains timm's ghostnet_100 from random weights for so many epochs at that side, on every fourth class, and
prints the top-1 on their validation images at that side and at larger ones. About 20 minutes on 2 cores.
"""

from __future__ import annotations

import io
import math
import sys
import time
import zipfile
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from torch import Tensor
from torch.nn import functional as F

EVERY, BATCH, RATE, DECAY, WARMUP = 4, 128, 0.2, 1e-4, 0.06
MEAN = 255 * torch.tensor([0.485, 0.456, 0.406]).view(1, 3, 1, 1)
STD = 255 * torch.tensor([0.229, 0.224, 0.225]).view(1, 3, 1, 1)


def read(archive: Path, split: str) -> tuple[Tensor, Tensor]:
    """Return uint8 images [N, 3, 64, 64] and labels [N] of every fourth class."""
    with zipfile.ZipFile(archive) as file:
        names = [name for name in file.namelist() if name.startswith(f"{split}/") and name.endswith(".webp")]
        classes = sorted({name.split("/")[1] for name in names})[::EVERY]
        names = [name for name in names if name.split("/")[1] in classes]
        pixels = np.stack([np.asarray(Image.open(io.BytesIO(file.read(n))).convert("RGB")) for n in names])
    labels = [classes.index(name.split("/")[1]) for name in names]
    return torch.from_numpy(pixels).permute(0, 3, 1, 2).contiguous(), torch.tensor(labels)


def views(images: Tensor, side: int) -> Tensor:
    """Return a random crop of 30 to 100 % of the area of each image, half of them mirrored."""
    count = len(images)
    scale = torch.empty(count).uniform_(0.3, 1).sqrt()
    ratio = torch.exp(torch.empty(count).uniform_(math.log(3 / 4), math.log(4 / 3))).sqrt()
    width, height = (scale * ratio).clamp(max=1), (scale / ratio).clamp(max=1)
    boxes = torch.zeros(count, 2, 3)
    boxes[:, 0, 0] = width * ((torch.rand(count) < 0.5).float() * 2 - 1)
    boxes[:, 1, 1] = height
    boxes[:, 0, 2] = (torch.rand(count) * 2 - 1) * (1 - width)
    boxes[:, 1, 2] = (torch.rand(count) * 2 - 1) * (1 - height)
    grid = F.affine_grid(boxes, [count, 3, side, side], align_corners=False)
    pixels = F.grid_sample(
        (images.float() - MEAN) / STD, grid, padding_mode="reflection", align_corners=False
    )
    return pixels.contiguous(memory_format=torch.channels_last)


def main(archive: Path, side: int, epochs: int) -> None:
    torch.manual_seed(0)
    images, labels = read(archive, "train")
    val_images, val_labels = read(archive, "val")
    network = timm.create_model("ghostnet_100", num_classes=int(labels.max()) + 1, drop_rate=0.1)
    network.to(memory_format=torch.channels_last).train()
    compiled = torch.compile(network)
    weights = [p for p in network.parameters() if p.ndim > 1]
    others = [p for p in network.parameters() if p.ndim <= 1]
    groups = [{"params": weights, "weight_decay": DECAY}, {"params": others, "weight_decay": 0.0}]
    optimizer = torch.optim.SGD(groups, RATE, momentum=0.9, nesterov=True)
    steps = len(images) // BATCH * epochs
    step, start = 0, time.monotonic()
    for _ in range(epochs):
        order = torch.randperm(len(images))
        for batch in order[: len(images) // BATCH * BATCH].split(BATCH):
            done = step / steps
            falling = 0.5 * (1 + math.cos(math.pi * (done - WARMUP) / (1 - WARMUP)))
            for group in optimizer.param_groups:
                group["lr"] = RATE * (done / WARMUP if done < WARMUP else falling)
            loss = F.cross_entropy(compiled(views(images[batch], side)), labels[batch], label_smoothing=0.1)
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            step += 1
    print(f"trained at {side} for {epochs} epochs in {time.monotonic() - start:.0f} s")
    network.eval()
    for size in (side, side * 5 // 4, side * 3 // 2):
        correct = 0
        with torch.inference_mode():
            for begin in range(0, len(val_images), 250):
                pixels = (val_images[begin : begin + 250].float() - MEAN) / STD
                if size != 64:
                    pixels = F.interpolate(pixels, (size, size), mode="bicubic", antialias=True)
                found = network(pixels.contiguous(memory_format=torch.channels_last)).argmax(1)
                correct += int((found == val_labels[begin : begin + 250]).sum())
        print(f"  top-1 at {size}: {100 * correct / len(val_images):.1f} %")


if __name__ == "__main__":
    main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
