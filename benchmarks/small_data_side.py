"""One contestant of small_data.py: learns from a folder of photos and answers those of another.

    python small_data_side.py timm|fastai|logistic PHOTOS VALIDATION SEED ANSWERS.npz

Writes the logits float32 ``[N, C]`` and labels int64 ``[N]`` of VALIDATION, and prints the seconds of the
training as JSON. All start from the built-in weights.

timm: its own definition of GhostNet, `ghostnet_100`, with the weights of the built-in model in it, which is
checked to compute the same function. The loop is that of timm's `train.py` (timm 1.0,
`timm.optim.create_optimizer_v2`, `timm.scheduler.create_scheduler_v2`, `timm.utils.ModelEmaV3`,
`timm.data.create_transform`) at its defaults, but `--opt adamw --lr 1e-3 --weight-decay 0.02 --batch-size 16
--warmup-epochs 2 --model-ema --model-ema-decay 0.99` and as many epochs as give 600 steps, 20 to 60.
It keeps the last epoch and holds nothing out.

fastai: `vision_learner(dls, ...).fine_tune(20)` as fastai 2.7 does it, written out from its sources:
`callback/schedule.py` (`fine_tune`: an epoch of the head at `lr=2e-3`, then all layers at `slice(lr/2/100,
lr/2)` by `fit_one_cycle`, momentum 0.95 to 0.85), `vision/learner.py` (`create_head`: pooling by mean and
maximum, 512 hidden units, batch norms, dropout 0.25 and 0.5; two groups of layers below it), `optimizer.py`
(Adam with `sqr_mom=0.99, eps=1e-5, wd=0.01`), `vision/augment.py` (`RandomResizedCrop(224, min_scale=0.35)`
and `aug_transforms`: flip, 10 degrees, 1.1 times, lighting 0.2) and the loss without smoothing. Batches of
16, a fifth held out and not used.

logistic: scikit-learn's `StandardScaler` and `LogisticRegression(C=1)`, as they are, on `Classifier.embed`.
"""

from __future__ import annotations

import json
import math
import sys
import time
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

BEGAN = time.monotonic()
SIDE, BATCH = 224, 16
MEAN, STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


def built_in_state() -> dict[str, Any]:
    from ghostclas.bundle import Bundle, default_bundle_path
    from ghostclas.models.saved import bundle_state

    return bundle_state(Bundle.open(default_bundle_path()))


def timm_network(classes: int) -> Any:
    """Return timm's `ghostnet_100` with the built-in weights in it and a new last layer.

    The built-in model clips its gates where timm has a hard sigmoid, has fewer channels in two gates, and a
    norm behind the pooling. Each has an equal form: clip(x) is hard_sigmoid(6 x - 3), channels of zeros do
    nothing, and a norm folds into the convolution before it.
    """
    import timm
    import torch

    from ghostclas.models import create_model
    from ghostclas.weights.reading import LAYOUTS
    from ghostclas.zoo import resolve_spec

    ours = built_in_state()
    network: Any = timm.create_model("ghostnet_100", num_classes=200, drop_rate=0.2)
    state = network.state_dict()
    layout = next(
        layout for layout in LAYOUTS if set(layout.markers) <= state.keys() and layout.markers[0] in state
    )
    scale = ours["head.norm.weight"] / torch.sqrt(ours["head.norm.running_var"] + 1e-5)
    ours["head.conv.weight"] = ours["head.conv.weight"] * scale.view(-1, 1, 1, 1)
    ours["head.conv.bias"] = ours["head.norm.bias"] - ours["head.norm.running_mean"] * scale
    for name in [name for name in ours if ".se.expand." in name]:
        ours[name] = 6 * ours[name] - (3 if name.endswith("bias") else 0)
    for theirs, value in state.items():
        found = ours.get(layout.translate(theirs))
        if found is None:
            assert theirs.endswith("num_batches_tracked"), theirs
            continue
        value.zero_()
        value[tuple(slice(size) for size in found.shape)] = found
    network.load_state_dict(state)

    whole = create_model(resolve_spec("ghostnet_x1_0", num_classes=200))
    whole.load_state_dict(built_in_state())
    noise = torch.randn(2, 3, SIDE, SIDE, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        torch.testing.assert_close(network.eval()(noise), whole.eval()(noise), atol=1e-3, rtol=1e-3)
    network.reset_classifier(classes)
    return network


def photos(folder: str, transform: Any) -> Any:
    from torchvision.datasets import ImageFolder

    return ImageFolder(folder, transform)


def batches(dataset: Any, *, train: bool, seed: int = 0) -> Any:
    import torch
    from torch.utils.data import DataLoader

    return DataLoader(
        dataset,
        BATCH if train else 64,
        shuffle=train,
        drop_last=train,
        num_workers=2,
        generator=torch.Generator().manual_seed(seed),
    )


def answers(network: Any, folder: str, transform: Any) -> tuple[Any, Any]:
    import torch

    logits, labels = [], []
    network.eval()
    with torch.inference_mode():
        for images, wanted in batches(photos(folder, transform), train=False):
            logits.append(network(images.contiguous(memory_format=torch.channels_last)).numpy())
            labels.append(wanted.numpy())
    return np.concatenate(logits), np.concatenate(labels)


def plain(side: int = SIDE) -> Any:
    return import_module("timm.data").create_transform(
        side, interpolation="bilinear", mean=MEAN, std=STD, crop_pct=0.875
    )


def with_timm(folder: str, validation: str, seed: int) -> tuple[Any, Any]:
    import torch

    create_transform = import_module("timm.data").create_transform
    optimizers, schedulers = import_module("timm.optim"), import_module("timm.scheduler")
    torch.manual_seed(seed)
    dataset = photos(
        folder, create_transform(SIDE, is_training=True, interpolation="bilinear", mean=MEAN, std=STD)
    )
    network = timm_network(len(dataset.classes)).to(memory_format=torch.channels_last)
    loader = batches(dataset, train=True, seed=seed)
    epochs = min(max(math.ceil(600 / len(loader)), 20), 60)
    optimizer = optimizers.create_optimizer_v2(network, opt="adamw", lr=1e-3, weight_decay=0.02)
    scheduler, _ = schedulers.create_scheduler_v2(
        optimizer,
        sched="cosine",
        num_epochs=epochs,
        warmup_epochs=2,
        warmup_lr=1e-5,
        step_on_epochs=False,
        updates_per_epoch=len(loader),
    )
    ema = import_module("timm.utils").ModelEmaV3(network, decay=0.99, use_warmup=True)
    loss, step = import_module("timm.loss").LabelSmoothingCrossEntropy(0.1), 0
    for _ in range(epochs):
        network.train()
        for images, labels in loader:
            loss(network(images.contiguous(memory_format=torch.channels_last)), labels).backward()
            optimizer.step()
            optimizer.zero_grad()
            step += 1
            ema.update(network, step=step)
            scheduler.step_update(step)
    say_seconds()
    return answers(ema.module, validation, plain())


def one_cycle(steps: int, *, lr: float, start: float, div: float = 25.0) -> Iterator[tuple[float, float]]:
    """Yield rate and momentum of each step, as fastai's `fit_one_cycle` does."""

    def between(a: float, b: float, part: float) -> float:
        return a + (1 + math.cos(math.pi * (1 - part))) * (b - a) / 2

    for step in range(steps):
        part = step / steps
        if part < start:
            yield between(lr / div, lr, part / start), between(0.95, 0.85, part / start)
        else:
            rest = (part - start) / (1 - start)
            yield between(lr, lr / 1e5, rest), between(0.85, 0.95, rest)


def with_fastai(folder: str, validation: str, seed: int) -> tuple[Any, Any]:
    import torch
    from torch import nn
    from torch.utils.data import Subset
    from torchvision.transforms import v2

    torch.manual_seed(seed)
    view = v2.Compose(
        [
            v2.RandomResizedCrop(SIDE, scale=(0.35, 1.0)),
            v2.RandomHorizontalFlip(),
            v2.RandomApply([v2.RandomAffine(10, scale=(1.0, 1.1))], 0.75),
            v2.RandomApply([v2.ColorJitter(0.2, 0.2)], 0.75),
            v2.PILToTensor(),
            v2.ToDtype(torch.float32, scale=True),
            v2.Normalize(MEAN, STD),
        ]
    )
    whole = photos(folder, view)
    chance = torch.randperm(len(whole), generator=torch.Generator().manual_seed(seed)).tolist()
    dataset = Subset(whole, chance[len(whole) // 5 :])
    body = timm_network(0)
    body.global_pool, body.conv_head, body.act2, body.flatten = (nn.Identity() for _ in range(4))
    body.drop_rate, features = 0.0, 960

    class Pooled(nn.Module):
        def forward(self, maps: Any) -> Any:
            return torch.cat(
                [nn.functional.adaptive_max_pool2d(maps, 1), nn.functional.adaptive_avg_pool2d(maps, 1)], 1
            )

    head = nn.Sequential(
        Pooled(), nn.Flatten(),
        nn.BatchNorm1d(2 * features), nn.Dropout(0.25), nn.Linear(2 * features, 512, bias=False), nn.ReLU(),
        nn.BatchNorm1d(512), nn.Dropout(0.5), nn.Linear(512, len(whole.classes), bias=False),
    )  # fmt: skip
    for module in head:
        if isinstance(module, nn.Linear):
            nn.init.kaiming_normal_(module.weight)
    network = nn.Sequential(body, head).to(memory_format=torch.channels_last)
    late = list(body.blocks[5:].parameters())
    early = [p for p in body.parameters() if all(p is not other for other in late)]
    groups: list[Any] = [early, late, list(head.parameters())]
    norms = {
        id(p)
        for m in network.modules()
        if isinstance(m, nn.modules.batchnorm._BatchNorm)
        for p in m.parameters()
    }
    loader = batches(dataset, train=True, seed=seed)

    def fit(epochs: int, rates: tuple[float, float, float], *, start: float, div: float) -> None:
        optimizer = torch.optim.AdamW(
            [
                {"params": [p for p in group if (id(p) in norms or p.ndim == 1) == bare], "weight_decay": 0.0
                if bare else 0.01, "part": rate} for group, rate in zip(groups, rates, strict=True)
                for bare in (False, True)
            ],
            lr=1.0,
            betas=(0.95, 0.99),
            eps=1e-5,
        )  # fmt: skip
        plan = one_cycle(epochs * len(loader), lr=1.0, start=start, div=div)
        for _ in range(epochs):
            network.train()
            for images, labels in loader:
                rate, momentum = next(plan)
                for group in optimizer.param_groups:
                    group["lr"], group["betas"] = rate * group["part"], (momentum, 0.99)
                logits = network(images.contiguous(memory_format=torch.channels_last))
                nn.functional.cross_entropy(logits, labels).backward()
                optimizer.step()
                optimizer.zero_grad()

    def freeze(frozen: bool) -> None:
        # fastai trains batch norms also where it freezes.
        for parameter in body.parameters():
            parameter.requires_grad = not frozen or id(parameter) in norms

    lr = 2e-3
    freeze(True)
    fit(1, (lr, lr, lr), start=0.99, div=25.0)
    freeze(False)
    lr /= 2
    fit(20, (lr / 100, lr / 10, lr), start=0.3, div=5.0)
    say_seconds()
    return answers(network, validation, plain())


def with_logistic(folder: str, validation: str, seed: int) -> tuple[Any, Any]:
    logistic = import_module("sklearn.linear_model").LogisticRegression(max_iter=1000, random_state=seed)
    scaler = import_module("sklearn.preprocessing").StandardScaler()
    from ghostclas.data import open_source
    from ghostclas.prediction import Classifier

    with Classifier.load("default", engine="onnxruntime") as classifier:
        source = open_source(folder)
        features = classifier.embed([source.read(index) for index in range(len(source.samples))])
        model = import_module("sklearn.pipeline").make_pipeline(scaler, logistic)
        model.fit(features, [sample.label for sample in source.samples])
        say_seconds()
        other = open_source(validation)
        assert list(other.classes) == list(source.classes)
        found = classifier.embed([other.read(index) for index in range(len(other.samples))])
    return model.decision_function(found).astype(np.float32), np.array([s.label for s in other.samples])


def say_seconds() -> None:
    print(json.dumps({"seconds": round(time.monotonic() - BEGAN, 1)}), flush=True)


METHODS = {"timm": with_timm, "fastai": with_fastai, "logistic": with_logistic}

if __name__ == "__main__":
    method, folder, validation, seed, target = sys.argv[1:]
    logits, labels = METHODS[method](folder, validation, int(seed))
    np.savez(Path(target), logits=logits.astype(np.float32), labels=labels.astype(np.int64))
