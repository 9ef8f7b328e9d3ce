"""What is attacked: a table of formats, each with good files to damage and the product's way to read them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from random import Random
from typing import cast


@dataclass(frozen=True)
class Target:
    """One format.

    Attributes:
        name: of the file that holds a mutant, below a folder of its own.
        seeds: makes the good files, given an empty folder.
        mutate: returns a damaged copy.
        read: does with the file what the product does with a stranger's; raises what that raises.
        prepare: puts what has to lie beside the file into its folder, once.
    """

    name: str
    seeds: Callable[[Path], Sequence[bytes]]
    mutate: Callable[[bytes, Random], bytes]
    read: Callable[[Path], None]
    prepare: Callable[[Path], object] = lambda folder: None

    def mutant(self, seeds: Sequence[bytes], format_name: str, seed: int, number: int) -> bytes:
        """Return mutant ``number`` of a seed; it depends on nothing else."""
        rng = Random(f"{format_name}:{seed}:{number}")
        return self.mutate(rng.choice(seeds), rng)


TARGETS: Mapping[str, str] = {
    "pth": "weights:PTH",
    "pdparams": "weights:PDPARAMS",
    "safetensors": "weights:SAFETENSORS",
    "parquet": "datasets:PARQUET",
    "zip": "datasets:ZIP",
    "tar": "datasets:TAR",
    "bundle": "bundles:ARCHIVE",
    "manifest": "bundles:MANIFEST_FILE",
    "reference": "bundles:REFERENCE_FILE",
    "mined": "documents:LIST",
    "mapping": "documents:MAPPING",
    "bench": "documents:MEASUREMENT",
    "devkit": "imagenet:DEVKIT",
    "imagenet": "imagenet:TRAIN",
    "jpeg": "images:JPEG",
    "png": "images:PNG",
    "webp": "images:WEBP",
    "gif": "images:GIF",
    "bmp": "images:BMP",
    "tiff": "images:TIFF",
    "ppm": "images:PPM",
    "avif": "images:AVIF",
    **({"heic": "images:HEIC"} if find_spec("pillow_heif") else {}),
}
"""The formats, slowest to start first: ``module:object`` here."""

SLOW: Mapping[str, int] = {"devkit": 100, "imagenet": 100}
"""Formats whose reader starts a process each time, and of how many mutants one is tried."""

GROUPS: Mapping[str, tuple[str, ...]] = {
    "images": ("jpeg", "png", "webp", "gif", "bmp", "tiff", "ppm", "avif"),
}
"""Words that stand for several formats."""


def load(name: str) -> Target:
    """Import one target: importing torch for the images would cost more than their mutants."""
    module, _, attribute = TARGETS[name].partition(":")
    return cast(Target, getattr(import_module(f"fuzzing.{module}"), attribute))
