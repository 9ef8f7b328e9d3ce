"""Construction of a network from its ``ModelSpec``."""

from __future__ import annotations

import importlib

from torch import nn

from ghostclas.errors import UsageError, did_you_mean
from ghostclas.families import FAMILIES
from ghostclas.spec import ModelSpec


def create_model(spec: ModelSpec) -> nn.Module:
    """Return the newly initialised network of ``spec``, in training mode.

    It maps normalised float images ``[N, 3, H, W]`` to logits ``[N, spec.num_classes]``.

    Raises:
        UsageError: this version does not know the family, or the family does not have the flavour.
    """
    family = FAMILIES.get(spec.family)
    if family is None:
        raise UsageError(
            f"{spec.name} belongs to a family of networks that is not known here: {spec.family!r}"
            f"{did_you_mean(spec.family, FAMILIES)}\n       a newer version of ghostclas may know it"
        )
    if family.flavours and spec.flavour not in family.flavours:
        raise UsageError(
            f"{spec.name} has no flavour {spec.flavour!r}; {family.title} has {', '.join(family.flavours)}"
        )
    network: nn.Module = importlib.import_module(f"ghostclas.models.{family.name}").build(spec)
    return network
