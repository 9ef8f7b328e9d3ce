"""What every source of labelled images offers, whatever it is stored in. Needs no torch."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol


class Sample(NamedTuple):
    """One labelled image: ``key``, a relative path, names it in its source; ``label`` is a class index."""

    key: str
    label: int


class Source(Protocol):
    """A finite, ordered set of labelled images with random access.

    A source can be pickled and used in several processes; it opens its files when first read.
    """

    @property
    def location(self) -> str:
        """Where the images are, for messages."""

    @property
    def classes(self) -> Sequence[str]:
        """Class names in the order of the class indices."""

    @property
    def samples(self) -> Sequence[Sample]:
        """Every image with its label, in a stable order."""

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of image ``index``."""
