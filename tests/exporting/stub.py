"""A network of few layers, and its logits."""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from ghostclas.spec import ModelSpec, PreprocessSpec, ResizeSpec

CLASSES = ("a", "b", "c")
SPEC = ModelSpec(name="stub", num_classes=3)


PREPROCESS = PreprocessSpec(
    resize=ResizeSpec(short_side=40), crop=32, mean=(0.2, 0.4, 0.6), std=(0.1, 0.2, 0.3)
)


def network(*, classes: int = 3, scale: float = 1.0) -> nn.Sequential:
    """A network of the parts that matter here: padding, norms, a depthwise convolution, a classifier."""
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = nn.Sequential(
            nn.Sequential(nn.Conv2d(3, 8, 3, stride=2, padding=1, bias=False), nn.BatchNorm2d(8), nn.ReLU()),
            nn.Sequential(nn.Conv2d(8, 8, 3, padding=1, groups=8, bias=False), nn.BatchNorm2d(8)),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Dropout(0.5),
            classifier := nn.Linear(8, classes),
        )
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                assert module.running_mean is not None
                assert module.running_var is not None
                nn.init.uniform_(module.running_var, 0.5, 2)
                nn.init.normal_(module.running_mean)
                nn.init.normal_(module.weight)
                nn.init.normal_(module.bias)
        nn.init.normal_(classifier.weight, std=scale)
    # What an exporter must not take: dropout and batch statistics.
    return model.train()


def torch_logits(model: nn.Module, images: np.ndarray) -> np.ndarray:
    """What training computes: normalise, then the network as it is."""
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (PREPROCESS.mean, PREPROCESS.std))
    with torch.inference_mode():
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2) / 255
        return np.asarray(model.eval()((pixels - mean) / std).numpy())
