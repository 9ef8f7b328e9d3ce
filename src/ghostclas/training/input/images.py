"""Examples and batches: one image of a batch with its label, and how a batch is put together.

An image that cannot be read becomes a blank example of weight 0, and so does the padding of the last batch.
Shapes never change, no image is counted twice, and no image replaces another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset, get_worker_info

from ghostclas import imaging
from ghostclas.data.source import Source
from ghostclas.errors import ImageError
from ghostclas.spec import PreprocessSpec
from ghostclas.training.input.sampling import PADDING, SeededIndex
from ghostclas.training.input.transforms import AugmentConfig, training_view


class BadImage(NamedTuple):
    """An image that cannot be read."""

    key: str
    message: str


class ExampleInfo(NamedTuple):
    """An example without its pixels. ``weight`` is 0 for a blank."""

    label: int
    weight: float
    bad: BadImage | None
    seeded: SeededIndex


class Example(NamedTuple):
    """One image of a batch: a view uint8 ``[3, H, W]``, channels last in memory, and its label."""

    image: Tensor
    info: ExampleInfo


@dataclass
class Batch:
    """``images`` uint8 ``[N, 3, H, W]``, ``labels`` int64 and ``weights`` float32 ``[N]``, 0 for a blank.

    ``indices``, int64 ``[N, 2]``, are image and seed of each view.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor
    bad: list[BadImage]
    indices: Tensor

    def pin_memory(self) -> Batch:
        """Move to page-locked memory; the loader calls it when a GPU waits."""
        return Batch(
            self.images.pin_memory(),
            self.labels.pin_memory(),
            self.weights.pin_memory(),
            self.bad,
            self.indices,
        )


class TrainingImages(Dataset[Example]):
    """Random views ``uint8 [3, resolution, resolution]`` of a source's images."""

    def __init__(self, source: Source, augment: AugmentConfig, resolution: int) -> None:
        self.source, self.resolution = source, resolution
        self.view = training_view(augment, resolution)

    def __getitem__(self, index: SeededIndex) -> Example:
        return self.prepare(index, self.read(index))

    def read(self, index: SeededIndex) -> bytes | ImageError:
        """Return the encoded image, nothing for padding."""
        try:
            return b"" if index.image == PADDING else self.source.read(index.image)
        except ImageError as error:
            return error

    def prepare(self, index: SeededIndex, data: bytes | ImageError) -> Example:
        """Return the view of ``data``, the bytes of image ``index.image``, that the seed draws."""
        if index.image == PADDING:
            return _blank(self.resolution, None, index)
        sample = self.source.samples[index.image]
        try:
            if isinstance(data, ImageError):
                raise data
            photo = imaging.decode(data, short_side=self.resolution)
        except ImageError as error:
            return _blank(self.resolution, BadImage(sample.key, str(error)), index)
        # torch.manual_seed also formats a stack trace for CUDA, which takes twice as long as the view.
        torch.default_generator.manual_seed(index.seed)
        return Example(self.view(photo), ExampleInfo(sample.label, 1.0, None, index))


class EvaluationImages(Dataset[Example]):
    """A source's images as the deployed model sees them, ``uint8 [3, crop, crop]``, through ``imaging``."""

    def __init__(self, source: Source, preprocess: PreprocessSpec) -> None:
        self.source, self.preprocess = source, preprocess

    def __len__(self) -> int:
        return len(self.source.samples)

    def __getitem__(self, index: int) -> Example:
        sample = self.source.samples[index]
        try:
            pixels = imaging.preprocess(self.source.read(index), self.preprocess)
        except ImageError as error:
            return _blank(self.preprocess.crop, BadImage(sample.key, str(error)), SeededIndex(index, 0))
        return Example(
            torch.from_numpy(pixels).permute(2, 0, 1),
            ExampleInfo(sample.label, 1.0, None, SeededIndex(index, 0)),
        )


def _blank(resolution: int, bad: BadImage | None, index: SeededIndex) -> Example:
    grey = torch.full((3, resolution, resolution), 128, dtype=torch.uint8)
    return Example(grey, ExampleInfo(0, 0.0, bad, index))


def collate(examples: Sequence[Example]) -> Batch:
    """Return the batch of these examples; in a loader process, in shared memory.

    Raises:
        RuntimeError: the shared memory is full. The queue that sends batches would raise it in a thread of
            its own, where nothing catches it.
    """
    # In memory order, stacking copies the views without a permutation.
    pixels = torch.stack([example.image.permute(1, 2, 0) for example in examples])
    batch = to_batch(pixels, [example.info for example in examples])
    if get_worker_info() is not None:
        for tensor in (pixels, batch.labels, batch.weights, batch.indices):
            tensor.share_memory_()  # type: ignore[no-untyped-call]
    return batch


def to_batch(pixels: Tensor, info: Sequence[ExampleInfo]) -> Batch:
    """Return the batch of ``pixels``, uint8 ``[N, H, W, 3]``, and the rest of each example."""
    return Batch(
        pixels.permute(0, 3, 1, 2),
        torch.tensor([known.label for known in info]),
        torch.tensor([known.weight for known in info]),
        [known.bad for known in info if known.bad],
        torch.tensor([known.seeded for known in info], dtype=torch.int64),
    )
