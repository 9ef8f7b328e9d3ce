"""The 1000 classes of ImageNet-1k, from a file of the package timm, which is not imported."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import NamedTuple


class Synset(NamedTuple):
    """A class of ImageNet: its WordNet identifier and WordNet's words, such as ``"tabby, tabby cat"``."""

    identifier: str
    words: str


def imagenet_synsets() -> tuple[Synset, ...] | None:
    """Return the classes in their usual order, which is that of the identifiers, or ``None`` without timm."""
    package = find_spec("timm")
    if package is None or not package.submodule_search_locations:
        return None
    folder = Path(package.submodule_search_locations[0]) / "data" / "_info"
    try:
        synsets = (folder / "imagenet_synsets.txt").read_text(encoding="utf-8").split()
        lines = (folder / "imagenet_synset_to_lemma.txt").read_text(encoding="utf-8").splitlines()
    except OSError:
        return None
    words = dict(line.split("\t", 1) for line in lines)
    return tuple(Synset(identifier, words[identifier]) for identifier in synsets)
