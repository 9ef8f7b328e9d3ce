"""Which images of an undivided data set training sets aside, and how they are found again.

The choice draws a lot for each image, from the seed and the image's name alone. Of each class, the images
with the lowest lots are set aside. So one bound a class tells the two kinds apart, in the folder as it was
and after images were added or removed: whatever lies above the bound of its class may have been trained on.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping, Sequence
from typing import Annotated, NamedTuple

import numpy as np
import numpy.typing as npt
from pydantic import Field

from ghostclas.data.identity import fingerprint
from ghostclas.data.source import Source, labels_of
from ghostclas.data.subsets import Subset
from ghostclas.errors import ImageError
from ghostclas.spec import Frozen

WITNESSES = 8
"""So many images with the lowest lots, and with the highest, are remembered by their content."""

Lots = npt.NDArray[np.uint64]
_Hash = Annotated[str, Field(pattern=r"^[0-9a-f]{16}$")]


class SetAside(Frozen):
    """The images that a training set aside, as plain values that fit into a manifest; it holds no names.

    Attributes:
        seed: of the lots.
        images: how many the data set had.
        held_out: how many of them were set aside.
        files: hash of the names and labels of all, see ``Fingerprint.files``.
        bounds: the highest lot that was set aside, by class index; ``None`` for a class without any.
        witnesses: hash of the content of some images by their lots. They tell whether a folder is the one
            that was trained on, since in other folders images may have the same names.
    """

    seed: int
    images: Annotated[int, Field(ge=0)]
    held_out: Annotated[int, Field(ge=0)]
    files: str
    bounds: tuple[_Hash | None, ...]
    witnesses: Mapping[_Hash, _Hash]


class Found(NamedTuple):
    """A data set in which the images of a :class:`SetAside` were found again."""

    unseen: npt.NDArray[np.bool_]
    """which images were set aside, bool ``[N]``"""
    changed: bool
    """whether images were added, removed or renamed since"""


def choose(source: Source, fraction: float, seed: int) -> npt.NDArray[np.bool_]:
    """Return which images to set aside, bool ``[N]``: about ``fraction`` of each class.

    At least one image of a class is set aside, and at least one is not.
    """
    labels = labels_of(source.samples)
    order = np.lexsort((draw_lots(source, seed), labels))
    chosen = np.zeros(len(labels), dtype=np.bool_)
    start = 0
    for count in np.bincount(labels, minlength=len(source.classes)).tolist():
        take = min(max(1, round(count * fraction)), count - 1) if count else 0
        chosen[order[start : start + take]] = True
        start += count
    return chosen


def describe_set_aside(val: Source, seed: int) -> SetAside | None:
    """Return the record of the validation images ``val``, where :func:`choose` set them aside by ``seed``.

    Reads ``2 * WITNESSES`` images. ``None`` for other validation images, such as those of a folder ``val``.
    """
    if not isinstance(val, Subset):
        return None
    whole = val.source
    labels, lots = labels_of(whole.samples), draw_lots(whole, seed)
    chosen = np.zeros(len(labels), dtype=np.bool_)
    chosen[val.indices] = True
    bounds: list[str | None] = []
    for label in range(len(whole.classes)):
        inside = labels == label
        held_out = lots[inside & chosen]
        bounds.append(_hexadecimal(held_out.max()) if held_out.size else None)
    if not np.array_equal(_below(lots, labels, bounds), chosen):
        return None
    order = np.argsort(lots)
    witnesses: dict[str, str] = {}
    for index in {*order[:WITNESSES].tolist(), *order[-WITNESSES:].tolist()}:
        if content := _content(whole, index):
            witnesses[_hexadecimal(lots[index])] = content
    return SetAside(
        seed=seed,
        images=len(labels),
        held_out=int(chosen.sum()),
        files=fingerprint(whole).files,
        bounds=tuple(bounds),
        witnesses=witnesses,
    )


def find_set_aside(record: SetAside, classes: Sequence[str], source: Source) -> Found | None:
    """Find the images of ``record`` in ``source``; ``None`` if they are not there.

    An image is found by its name in the data set, so the folder may have moved. At least one witness must
    have its name and its content.

    Args:
        record: of a training.
        classes: class names by the indices of the record.
        source: labelled images; its classes may have other indices.
    """
    lots = draw_lots(source, record.seed)
    names = {int(lot, 16): content for lot, content in record.witnesses.items()}
    present = np.flatnonzero(np.isin(lots, np.array(list(names), dtype=np.uint64)))
    if not any(_content(source, index) == names[int(lots[index])] for index in present.tolist()):
        return None
    by_name = dict(zip(classes, record.bounds, strict=False))
    bounds = [by_name.get(name) for name in source.classes]
    return Found(
        _below(lots, labels_of(source.samples), bounds), changed=fingerprint(source).files != record.files
    )


def draw_lots(source: Source, seed: int) -> Lots:
    """Return the lot of every image, uint64 ``[N]``."""
    return np.array([_lot(sample.key, seed) for sample in source.samples], dtype=np.uint64)


def _lot(key: str, seed: int) -> int:
    name = f"{seed}\0{key}".encode("utf-8", "surrogateescape")
    return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "big")


def _below(lots: Lots, labels: npt.NDArray[np.int32], bounds: Sequence[str | None]) -> npt.NDArray[np.bool_]:
    has_bound = np.array([bound is not None for bound in bounds], dtype=np.bool_)
    highest = np.array([int(bound or "0", 16) for bound in bounds], dtype=np.uint64)
    return np.asarray(has_bound[labels] & (lots <= highest[labels]))


def _hexadecimal(lot: np.uint64) -> str:
    return f"{int(lot):016x}"


def _content(source: Source, index: int) -> str | None:
    """Return a hash of the bytes of an image, ``None`` if it cannot be read."""
    try:
        return hashlib.blake2b(source.read(index), digest_size=8).hexdigest()
    except ImageError:
        return None
