"""Networks of the package timm, for comparison; the extra ``ssld`` installs it."""

from __future__ import annotations

from torch import nn

from ghostclas.errors import UsageError, did_you_mean
from ghostclas.extras import require
from ghostclas.spec import ModelSpec


def build(spec: ModelSpec) -> nn.Module:
    """Return timm's network ``spec.name``, newly initialised, in its deployed form.

    Networks with parallel branches in training, such as RepGhost, have them merged.

    Raises:
        UsageError: timm has no such network.
        MissingExtraError: timm is not installed.
    """
    timm = require("timm", extra="ssld")
    if not timm.is_model(spec.name):
        near = did_you_mean(spec.name, timm.list_models())
        raise UsageError(f"timm has no network {spec.name!r}{near}")
    network = timm.create_model(spec.name, num_classes=spec.num_classes, drop_rate=spec.dropout)
    deployed: nn.Module = require("timm.utils", extra="ssld").reparameterize_model(network)
    # timm's metadata of its own weights, which include the usual preprocessing.
    deployed.pretrained_cfg = network.pretrained_cfg
    return deployed
