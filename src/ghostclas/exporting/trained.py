"""A trained network with the metadata of its bundle."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import nn

from ghostclas.datasets.synsets import imagenet_synsets
from ghostclas.spec import Metric, ModelSpec, PostprocessSpec, PreprocessSpec


@dataclass(frozen=True)
class Trained:
    """A network with its weights, in evaluation mode, and the metadata of its bundle."""

    model: nn.Module
    spec: ModelSpec
    classes: tuple[str, ...]
    preprocess: PreprocessSpec = field(default_factory=PreprocessSpec)
    postprocess: PostprocessSpec = field(default_factory=PostprocessSpec)
    metrics: tuple[Metric, ...] = ()
    provenance: Mapping[str, Any] = field(default_factory=dict)


def imagenet_classes() -> tuple[str, ...] | None:
    """Return the names of the 1000 classes of ImageNet-1k in their usual order, or ``None`` without timm.

    They are WordNet's words for each synset, such as ``"tabby, tabby cat"``. timm's file is read; timm is not
    imported.
    """
    synsets = imagenet_synsets()
    if synsets is None:
        return None
    names = [words for _, words in synsets]
    # The bird and the machine share the word crane.
    return tuple(f"{n} ({s})" if names.count(n) > 1 else n for s, n in synsets)
