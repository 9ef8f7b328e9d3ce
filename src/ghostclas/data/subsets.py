"""Sources made of other sources: some of the images, or the same images under other indices."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import numpy.typing as npt

from ghostclas.data.classes import match_classes
from ghostclas.data.source import Samples, Source, labels_of


@dataclass(frozen=True, eq=False)
class Subset:
    """Some images of a source, in the order of ``indices`` (int64 ``[N]``); ``notes`` say why these."""

    source: Source
    indices: npt.NDArray[np.int64]
    notes: tuple[str, ...] = ()

    @property
    def location(self) -> str:
        """Where the images are, for messages."""
        return self.source.location

    @property
    def classes(self) -> Sequence[str]:
        """Class names of the whole source."""
        return self.source.classes

    @cached_property
    def samples(self) -> Samples:
        """The chosen images with their labels."""
        return Samples(self.source.samples[int(i)] for i in self.indices)

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of image ``index`` of this subset."""
        return self.source.read(int(self.indices[index]))


@dataclass(frozen=True, eq=False)
class Relabelled:
    """The images of a source with label ``i`` read as ``mapping[i]`` of another list of classes."""

    source: Source
    classes: Sequence[str]
    mapping: Sequence[int]

    @property
    def location(self) -> str:
        """Where the images are, for messages."""
        return self.source.location

    @cached_property
    def samples(self) -> Samples:
        """The images of the source with their new labels."""
        labels = np.asarray(self.mapping, dtype=np.int32)[labels_of(self.source.samples)]
        samples = self.source.samples
        return (samples if isinstance(samples, Samples) else Samples(samples)).with_labels(labels)

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of image ``index``."""
        return self.source.read(index)


def align_source(
    source: Source,
    classes: Sequence[str],
    *,
    reference: str = "the model",
    advice: str = "rename the classes of the data, or name a model that knows them: --model runs/...",
) -> Source:
    """Return ``source`` with the indices of ``classes``, matched by name.

    The source may lack some of the classes; it may not have others.

    Args:
        source: labelled images.
        classes: names in the order that counts, such as a bundle's ``classes``.
        reference: what ``classes`` belong to, for the message.
        advice: what to do about a mismatch, the last line of the message.

    Raises:
        DataError: the source has classes of other names; the message names them.
    """
    if tuple(source.classes) == tuple(classes):
        return source
    mapping = match_classes(
        classes,
        source.classes,
        reference_name=reference,
        given_name="the data",
        between=f"{reference} and {source.location}",
        advice=advice,
    )
    return Relabelled(source, tuple(classes), mapping)


def source_notes(source: Source) -> tuple[str, ...]:
    """Return the notes for the user about how a source was read, such as which files were left out."""
    if isinstance(source, Relabelled):
        return source_notes(source.source)
    if isinstance(source, Subset):
        return (*source_notes(source.source), *source.notes)
    notes: tuple[str, ...] = getattr(source, "notes", ())
    return notes
