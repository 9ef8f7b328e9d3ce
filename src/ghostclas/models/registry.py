"""From a ``ModelSpec`` to a network. A new family is one file and one row in ``FAMILIES``."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from torch import nn

from ghostclas.models.efficientnet_lite import build_efficientnet_lite
from ghostclas.models.ghostnet import build_ghostnet
from ghostclas.models.timm_networks import build_timm
from ghostclas.spec import ModelSpec

FAMILIES: Mapping[str, Callable[[ModelSpec], nn.Module]] = {
    "ghostnet": build_ghostnet,
    "efficientnet_lite": build_efficientnet_lite,
    "timm": build_timm,
}


def create_model(spec: ModelSpec) -> nn.Module:
    """Return the network that ``spec`` describes, freshly initialised, in training mode.

    It maps normalised float images ``[N, 3, H, W]`` to logits ``[N, spec.num_classes]``.
    """
    return FAMILIES[spec.family](spec)
