"""The identity of a source's images: a resumed training run checks that it is unchanged."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from pydantic import model_validator

from ghostclas.data.classes import first_few
from ghostclas.data.source import Samples, Source, labels_of
from ghostclas.spec import Frozen, label_hash


class Fingerprint(Frozen):
    """The identity of a source, as plain values that fit into JSON and into a checkpoint.

    Attributes:
        classes: class names by index.
        label_hash: the hash of ``classes`` that bundles carry.
        images: how many samples there are.
        images_per_class: how many of them each class has, by index.
        files: hash of every sample's key and label, in order. The content of the files is not part of it.
    """

    classes: tuple[str, ...]
    label_hash: str
    images: int
    images_per_class: tuple[int, ...]
    files: str

    @model_validator(mode="after")
    def _one_count_a_class(self) -> Fingerprint:
        if len(self.images_per_class) != len(self.classes):
            raise ValueError(f"{len(self.classes)} classes, {len(self.images_per_class)} counts of images")
        return self


def fingerprint(source: Source) -> Fingerprint:
    """Return the identity of ``source``. Reads no image; a million samples take well under a second."""
    samples = source.samples if isinstance(source.samples, Samples) else Samples(source.samples)
    classes = tuple(source.classes)
    counts = np.bincount(labels_of(samples), minlength=len(classes))
    return Fingerprint(
        classes=classes,
        label_hash=label_hash(classes),
        images=len(samples),
        images_per_class=tuple(counts.tolist()),
        files=samples.digest(),
    )


def explain_difference(old: Fingerprint, new: Fingerprint) -> str | None:
    """Return one line that names what changed from ``old`` to ``new``, or ``None`` if nothing did."""
    if old == new:
        return None
    return "; ".join(_changes(old, new))


def _changes(old: Fingerprint, new: Fingerprint) -> Iterator[str]:
    before = dict(zip(old.classes, old.images_per_class, strict=True))
    now = dict(zip(new.classes, new.images_per_class, strict=True))
    gone = [name for name in old.classes if name not in now]
    added = [name for name in new.classes if name not in before]
    if gone:
        yield f"gone: the class{'es' * (len(gone) > 1)} {first_few(map(repr, gone))}"
    if added:
        yield f"new: the class{'es' * (len(added) > 1)} {first_few(map(repr, added))}"
    kept = [name for name in old.classes if name in now]
    if kept != [name for name in new.classes if name in before]:
        yield "the classes are in another order"
    if old.images != new.images:
        yield f"{new.images:,} images instead of {old.images:,}"
    changed = [
        f"{name!r}: {now[name]:,} instead of {before[name]:,}" for name in kept if now[name] != before[name]
    ]
    if changed:
        yield f"images of {first_few(changed)}"
    if old.classes == new.classes and old.images_per_class == new.images_per_class:
        yield f"the same number of images ({new.images:,}), but other files, labels or another order"
