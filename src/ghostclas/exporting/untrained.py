"""Networks with random weights, to measure speed and size, which do not depend on the weights.

    untrained("ghostnet_x1_3")                  a network of the zoo
    untrained("timm:mobilenetv3_large_100")     a network of the package timm

The answers of such a bundle mean nothing, and its provenance says so: ``{"weights": "random"}``. The
provenance also holds the published accuracy of the architecture, if there is one, with its source. That is
the accuracy of weights that the bundle does not have.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import torch
from torch import nn

from ghostclas.exporting.trained import Trained, imagenet_classes
from ghostclas.models.registry import create_model
from ghostclas.spec import PreprocessSpec, ResizeSpec
from ghostclas.zoo import ZOO, resolve_spec

RANDOM: Mapping[str, Any] = {"weights": "random"}

_BATCH = 8
_CSV = "timm, results/results-imagenet.csv"
_README = "timm, README.md, August 2024"
_REPGHOST = "the RepGhost authors' names of their weight files"


class Published(NamedTuple):
    """Top-1 and top-5 in percent on the ImageNet-1k validation set at 224 x 224, and their source."""

    top1: float
    top5: float | None
    source: str


PUBLISHED: Mapping[str, Published] = {
    "efficientnet_lite0": Published(75.480, 92.522, _CSV),
    "lcnet_050": Published(63.120, 84.386, _CSV),
    "lcnet_075": Published(68.782, 88.360, _CSV),
    "lcnet_100": Published(72.096, 90.362, _CSV),
    "mnasnet_100": Published(74.650, 92.124, _CSV),
    "mobilenetv1_100": Published(75.382, 92.312, _README),
    "mobilenetv2_050": Published(65.950, 86.088, _CSV),
    "mobilenetv2_100": Published(72.976, 91.010, _CSV),
    "mobilenetv2_140": Published(76.520, 92.986, _CSV),
    "mobilenetv3_small_050": Published(57.910, 80.180, _CSV),
    "mobilenetv3_small_075": Published(65.234, 85.446, _CSV),
    "mobilenetv3_small_100": Published(67.656, 87.636, _CSV),
    "mobilenetv3_large_100": Published(75.766, 92.538, _CSV),
    "mobilenetv4_conv_small": Published(73.756, 91.422, _README),
    "repghostnet_050": Published(66.95, None, _REPGHOST),
    "repghostnet_080": Published(72.24, None, _REPGHOST),
    "repghostnet_100": Published(74.22, None, _REPGHOST),
    "repghostnet_130": Published(76.37, None, _REPGHOST),
    "repghostnet_150": Published(77.45, None, _REPGHOST),
    "tf_efficientnet_lite0": Published(74.830, 92.172, _CSV),
    **{
        entry.name: Published(entry.top1, entry.top5, entry.accuracy_source)
        for entry in ZOO.values()
        if entry.top1 is not None and entry.accuracy_source is not None
    },
}
"""Published accuracies of networks whose weights are not included; none was measured here."""

PUBLISHED_SIZE = 224


def untrained(name: str, *, size: int | None = None) -> Trained:
    """Return the network ``name``, of the zoo or after ``timm:``, with random weights.

    The same name gives the same weights. One batch of noise sets the batch norms, so that activations have
    the magnitude of those in a trained network. Overflows and subnormals take some processors a hundred times
    longer.

    Args:
        name: ``ghostnet_x0_75`` or the like, or ``timm:mobilenetv3_large_100``.
        size: side of the input in pixels; the network's usual one when absent.

    Raises:
        UsageError: there is no such network.
        MissingExtraError: timm is not installed.
    """
    spec = resolve_spec(name)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        model = create_model(spec)
        preprocess = resized(_usual_preprocess(model), size)
        _initialise_norms(model, preprocess.crop)
    published = PUBLISHED.get(spec.name) if preprocess.crop == PUBLISHED_SIZE else None
    classes = imagenet_classes() or tuple(f"class {index}" for index in range(spec.num_classes))
    return Trained(
        model.eval(),
        spec,
        classes,
        preprocess,
        provenance={**RANDOM, **({"published": published._asdict()} if published else {})},
    )


def resized(preprocess: PreprocessSpec, size: int | None) -> PreprocessSpec:
    """Return the preprocessing for another input side: the same part of a photo in another resolution."""
    if size is None or size == preprocess.crop:
        return preprocess
    short_side = max(size, round(preprocess.resize.short_side * size / preprocess.crop))
    resize = preprocess.resize.model_copy(update={"short_side": short_side})
    return PreprocessSpec.model_validate({**preprocess.model_dump(), "resize": resize, "crop": size})


def _usual_preprocess(model: nn.Module) -> PreprocessSpec:
    usual: Mapping[str, Any] | None = getattr(model, "pretrained_cfg", None)
    if not usual:
        return PreprocessSpec()
    side = usual["input_size"][-1]
    return PreprocessSpec(
        resize=ResizeSpec(
            short_side=max(side, round(side / usual["crop_pct"])), interpolation=usual["interpolation"]
        ),
        crop=side,
        mean=usual["mean"],
        std=usual["std"],
    )


def _initialise_norms(model: nn.Module, size: int) -> None:
    for module in model.modules():
        if isinstance(module, nn.BatchNorm2d):
            module.momentum = 1.0
    with torch.no_grad():
        model.train()(torch.randn(_BATCH, 3, size, size))
