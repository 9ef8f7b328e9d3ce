"""The contract of all sources of labelled images: samples, and a way to read them."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol, overload

import numpy as np
import numpy.typing as npt


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


class Samples(Sequence[Sample]):
    """An immutable sequence of :class:`Sample` kept as one byte string and two arrays.

    ImageNet's training list takes about 50 MB instead of 300, and pickles in one piece. Forked worker
    processes share it, because no object of a sample has a reference count whose change would copy it.

    Keys may be any ``str`` that ``os.fsdecode`` can return.
    """

    def __init__(self, samples: Iterable[tuple[str, int]]) -> None:
        keys: list[bytes] = []
        labels: list[int] = []
        for key, label in samples:
            keys.append(key.encode("utf-8", "surrogateescape"))
            labels.append(label)
        self._labels = np.array(labels, dtype=np.int32)
        self._keys = b"".join(keys)
        self._ends = np.cumsum(np.array([len(key) for key in keys], dtype=np.int64), dtype=np.int64)

    @property
    def labels(self) -> npt.NDArray[np.int32]:
        """Class index of every sample, int32 ``[N]``, read-only."""
        view = self._labels.view()
        view.flags.writeable = False
        return view

    def with_labels(self, labels: npt.NDArray[np.int32]) -> Samples:
        """Return the same keys with other labels, int32 ``[N]``."""
        if labels.shape != self._labels.shape:
            raise ValueError(f"{len(labels)} labels for {len(self)} samples")
        other = Samples(())
        other._keys, other._ends, other._labels = self._keys, self._ends, labels.astype(np.int32)
        return other

    def key(self, index: int) -> str:
        """Return the key of sample ``index``."""
        start = int(self._ends[index - 1]) if index else 0
        return self._keys[start : int(self._ends[index])].decode("utf-8", "surrogateescape")

    def digest(self) -> str:
        """Return a hash of all keys and labels, in order: 32 hex digits, the same on every machine."""
        hashed = hashlib.blake2b(self._keys, digest_size=16)
        hashed.update(self._ends.astype("<i8").tobytes())
        hashed.update(self._labels.astype("<i4").tobytes())
        return hashed.hexdigest()

    def __len__(self) -> int:
        return len(self._labels)

    @overload
    def __getitem__(self, index: int) -> Sample: ...
    @overload
    def __getitem__(self, index: slice) -> Samples: ...
    def __getitem__(self, index: int | slice) -> Sample | Samples:
        if isinstance(index, slice):
            return Samples(self[i] for i in range(*index.indices(len(self))))
        position = index + len(self) if index < 0 else index
        if not 0 <= position < len(self):
            raise IndexError(f"sample {index} of {len(self)}")
        return Sample(self.key(position), int(self._labels[position]))

    def __iter__(self) -> Iterator[Sample]:
        start = 0
        for end, label in zip(self._ends.tolist(), self._labels.tolist(), strict=True):
            yield Sample(self._keys[start:end].decode("utf-8", "surrogateescape"), label)
            start = end

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Samples) and (
            self._keys == other._keys
            and np.array_equal(self._ends, other._ends)
            and np.array_equal(self._labels, other._labels)
        )

    def __hash__(self) -> int:
        return hash((self._keys, self._labels.tobytes()))

    def __repr__(self) -> str:
        return f"Samples({len(self)})"


def labels_of(samples: Sequence[Sample]) -> npt.NDArray[np.int32]:
    """Return the class index of every sample, int32 ``[N]``, from any sequence of samples."""
    if isinstance(samples, Samples):
        return samples.labels
    return np.fromiter((sample.label for sample in samples), dtype=np.int32, count=len(samples))
