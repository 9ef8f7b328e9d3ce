"""One contestant of training_throughput.py: trains GhostNet x1.0 on synthetic images, a round at a time.

    python training_side.py ghostclas|ghostclas-bf16|timm|paddle THREADS BATCH RESOLUTION

Each line on stdin is a number of steps; the answer on stdout is their seconds. Every side does
the same step: forward, cross-entropy with label smoothing 0.1, backward, SGD with Nesterov momentum.
"""

from __future__ import annotations

import importlib.util
import sys
import time
from collections.abc import Callable
from pathlib import Path

CLASSES = 1000


def torch_step(name: str, threads: int, batch: int, resolution: int) -> Callable[[], float]:
    """Return one training step of ours, compiled, or of timm's network, eager; both channels_last."""
    import torch
    from torch.nn import functional as F

    torch.manual_seed(0)
    torch.set_num_threads(threads)
    if name == "timm":
        import timm

        network: torch.nn.Module = timm.create_model("ghostnet_100", drop_rate=0.2)
    else:
        from ghostclas.models import create_model
        from ghostclas.models.cpu import compile_training, speed_up
        from ghostclas.training.memory import keep_freed_memory
        from ghostclas.zoo import resolve_spec

        keep_freed_memory()
        network = create_model(resolve_spec("ghostnet_x1_0"))
        speed_up(network, compiled=True)
    network.to(memory_format=torch.channels_last).train()
    forward = network if name == "timm" else compile_training(network)
    optimizer = torch.optim.SGD(network.parameters(), 1e-3, momentum=0.9, nesterov=True)
    images = torch.randn(batch, 3, resolution, resolution).contiguous(memory_format=torch.channels_last)
    labels = torch.randint(0, CLASSES, (batch,))

    def step() -> float:
        with torch.autocast("cpu", torch.bfloat16, enabled=name == "ghostclas-bf16"):
            logits = forward(images)
        loss = F.cross_entropy(logits.float(), labels, label_smoothing=0.1)
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        return loss.item()

    return step


def paddle_step(threads: int, batch: int, resolution: int) -> Callable[[], float]:
    """Return one training step of PaddleClas' network on PaddlePaddle."""
    import paddle

    spec = importlib.util.find_spec("paddleclas")
    if spec is None or spec.origin is None:
        raise SystemExit("paddleclas is not installed")
    # PaddleClas imports its own package as `ppcls` from inside its folder.
    sys.path.insert(0, str(Path(spec.origin).parent))
    from ppcls.arch.backbone.model_zoo.ghostnet import GhostNet_x1_0

    paddle.seed(0)
    paddle.device.set_device("cpu")
    network = GhostNet_x1_0(class_num=CLASSES)
    network.train()
    criterion = paddle.nn.CrossEntropyLoss(label_smoothing=0.1)
    optimizer = paddle.optimizer.Momentum(
        1e-3, momentum=0.9, use_nesterov=True, parameters=network.parameters()
    )
    images = paddle.randn([batch, 3, resolution, resolution])
    labels = paddle.randint(0, CLASSES, [batch])

    def step() -> float:
        loss = criterion(network(images), labels)
        loss.backward()
        optimizer.step()
        optimizer.clear_grad()
        return float(loss)

    return step


def main(name: str, threads: int, batch: int, resolution: int) -> None:
    step = (
        paddle_step(threads, batch, resolution)
        if name == "paddle"
        else torch_step(name, threads, batch, resolution)
    )
    for _ in range(2):
        step()
    print("ready", flush=True)
    for line in sys.stdin:
        began = time.perf_counter()
        for _ in range(int(line)):
            step()
        print(time.perf_counter() - began, flush=True)


if __name__ == "__main__":
    main(sys.argv[1], *map(int, sys.argv[2:5]))
