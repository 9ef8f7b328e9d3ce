"""Bundles for measurement: a model at another input size, or without trained weights."""

from __future__ import annotations

from pathlib import Path

from ghostclas.bundle import Bundle
from ghostclas.errors import UsageError
from ghostclas.exporting.onnx import export_bundle
from ghostclas.exporting.sources import open_trained
from ghostclas.exporting.untrained import resized, untrained
from ghostclas.zoo import locate


def make_variant(model: str, target: str | Path, *, size: int | None = None) -> Bundle:
    """Write ``model`` for inputs of ``size`` pixels as a bundle at ``target``.

    A bundle or a run keeps its weights, so that its accuracy at that size can be measured. A name, of the zoo
    or after ``timm:``, gets random weights; see ``exporting.untrained``.

    Raises:
        UsageError: there is no such model, or networks cannot take inputs of this size.
        ExportError: the network cannot be exported at this size.
    """
    if size is not None and (size < 32 or size % 32):
        raise UsageError(f"a size is a multiple of 32 pixels, not {size}")
    located = locate(model)
    bundle = None if located.kind == "network" else located.bundle()
    trained = untrained(located.name, size=size) if bundle is None else open_trained(bundle.path)
    preprocess, made_for = resized(trained.preprocess, size), trained.preprocess.crop
    return export_bundle(
        trained.model,
        trained.spec,
        trained.classes,
        preprocess,
        target,
        precision="fp32" if bundle is None else bundle.file().entry.precision,
        postprocess=trained.postprocess,
        metrics=trained.metrics if preprocess == trained.preprocess else (),
        provenance={
            **trained.provenance,
            **({"resized_from": made_for} if preprocess.crop != made_for else {}),
        },
    )
