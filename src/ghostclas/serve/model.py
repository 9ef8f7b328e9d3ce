"""One bundle in one engine, ready to be served."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Self, cast

import numpy as np
from numpy.typing import NDArray

from ghostclas.bundle import Bundle, Manifest, Precision
from ghostclas.bundle.manifest import serialise
from ghostclas.engines.contract import Engine
from ghostclas.spec import PostprocessSpec, PreprocessSpec

_VERSION_DIGITS = 12


@dataclass(frozen=True, slots=True, eq=False)
class ServedModel:
    """What a protocol may say of a model, and the engine that answers for it.

    Attributes:
        name: what requests call it.
        version: the first 12 digits of the sha256 of the bundle's manifest: another bundle, another version.
        classes: names in the order of the logits.
        side: of the square that the network sees, in pixels.
        preprocess: from a photo to these pixels.
        postprocess: from logits to scores.
        engine: the runtime's name.
        precision: what it computes in.
        batch: how many images are run at once at most.
        bundle: the open bundle.
        runtime: the open engine; several threads call it.
    """

    name: str
    version: str
    classes: Sequence[str]
    side: int
    preprocess: PreprocessSpec
    postprocess: PostprocessSpec
    engine: str
    precision: Precision
    batch: int
    bundle: Bundle
    runtime: Engine

    @classmethod
    def of(
        cls, name: str, bundle: Bundle, runtime: Engine, *, batch: int = 1, precision: str | None = None
    ) -> Self:
        """Return the model of an open bundle and an engine on one of its files.

        Args:
            name: what requests call it.
            bundle: the open bundle.
            runtime: the open engine.
            batch: how many images are run at once at most.
            precision: the one that the engine was asked for.
        """
        return cls(
            name=name,
            version=version_of(bundle.manifest),
            classes=bundle.classes,
            side=bundle.preprocess.crop,
            preprocess=bundle.preprocess,
            postprocess=bundle.postprocess,
            engine=runtime.name,
            precision=runtime.inference_precision
            or cast("Precision | None", precision)
            or bundle.file().entry.precision,
            batch=batch,
            bundle=bundle,
            runtime=runtime,
        )

    def with_batch(self, batch: int) -> Self:
        """Return the same model, run on at most ``batch`` images at once."""
        return replace(self, batch=batch)

    def run(self, pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        """Return float32 logits ``[N, C]`` of uint8 ``[N, side, side, 3]``."""
        return self.runtime.run(pixels)

    def close(self) -> None:
        """Free the engine."""
        self.runtime.close()


def version_of(manifest: Manifest) -> str:
    """Return the version of a model: the first digits of the sha256 of its bundle's manifest."""
    return hashlib.sha256(serialise(manifest)).hexdigest()[:_VERSION_DIGITS]
