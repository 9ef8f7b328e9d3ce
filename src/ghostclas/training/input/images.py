"""From tickets to batches: what one place in a batch holds, and how batches are put together.

An image that cannot be read leaves its slot in the batch blank with weight zero, and so does the padding of
the last batch: shapes never change, no image is counted twice, and none stands in for another.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor
from torch.utils.data import Dataset

from ghostclas import imaging
from ghostclas.data.source import Source
from ghostclas.errors import ImageError
from ghostclas.spec import PreprocessSpec
from ghostclas.training.input.tickets import PADDING, Ticket
from ghostclas.training.input.transforms import AugmentConfig, training_view


class BadImage(NamedTuple):
    """An image that could not be used."""

    key: str
    message: str


class Facts(NamedTuple):
    """What is known of one place in a batch besides its pixels: weight 0 for a blank."""

    label: int
    weight: float
    bad: BadImage | None
    ticket: Ticket


class Slot(NamedTuple):
    """One place in a batch, as a worker fills it: a view uint8 ``[3, H, W]``, channels last in memory."""

    image: Tensor
    facts: Facts


@dataclass
class Batch:
    """``images`` uint8 ``[N, 3, H, W]``, ``labels`` int64 and ``weights`` float32 ``[N]``, 0 for a blank.

    ``tickets``, int64 ``[N, 2]``, are image and seed of each view.
    """

    images: Tensor
    labels: Tensor
    weights: Tensor
    bad: list[BadImage]
    tickets: Tensor

    def pin_memory(self) -> Batch:
        """Move to page-locked memory; the loader calls it when a GPU waits."""
        return Batch(
            self.images.pin_memory(),
            self.labels.pin_memory(),
            self.weights.pin_memory(),
            self.bad,
            self.tickets,
        )


class TrainingImages(Dataset[Slot]):
    """Random views ``uint8 [3, resolution, resolution]`` of a source's images."""

    def __init__(self, source: Source, augment: AugmentConfig, resolution: int) -> None:
        self.source, self.resolution = source, resolution
        self.view = training_view(augment, resolution)

    def __getitem__(self, ticket: Ticket) -> Slot:
        return self.show(ticket, self.read(ticket))

    def read(self, ticket: Ticket) -> bytes | ImageError:
        """Return the encoded image, nothing for padding."""
        try:
            return b"" if ticket.image == PADDING else self.source.read(ticket.image)
        except ImageError as error:
            return error

    def show(self, ticket: Ticket, data: bytes | ImageError) -> Slot:
        """Return the view that ``ticket`` asks for of what was read for it."""
        if ticket.image == PADDING:
            return _blank(self.resolution, None, ticket)
        sample = self.source.samples[ticket.image]
        try:
            if isinstance(data, ImageError):
                raise data
            photo = imaging.decode(data, short_side=self.resolution)
        except ImageError as error:
            return _blank(self.resolution, BadImage(sample.key, str(error)), ticket)
        # torch.manual_seed would also format a stack trace for CUDA, at twice the cost of the view.
        torch.default_generator.manual_seed(ticket.seed)
        return Slot(self.view(photo), Facts(sample.label, 1.0, None, ticket))


class EvaluationImages(Dataset[Slot]):
    """A source's images as the deployed model sees them, ``uint8 [3, crop, crop]``, through ``imaging``."""

    def __init__(self, source: Source, preprocess: PreprocessSpec) -> None:
        self.source, self.preprocess = source, preprocess

    def __len__(self) -> int:
        return len(self.source.samples)

    def __getitem__(self, index: int) -> Slot:
        sample = self.source.samples[index]
        try:
            pixels = imaging.preprocess(self.source.read(index), self.preprocess)
        except ImageError as error:
            return _blank(self.preprocess.crop, BadImage(sample.key, str(error)), Ticket(index, 0))
        return Slot(
            torch.from_numpy(pixels).permute(2, 0, 1), Facts(sample.label, 1.0, None, Ticket(index, 0))
        )


def _blank(resolution: int, bad: BadImage | None, ticket: Ticket) -> Slot:
    grey = torch.full((3, resolution, resolution), 128, dtype=torch.uint8)
    return Slot(grey, Facts(0, 0.0, bad, ticket))


def collate(slots: Sequence[Slot]) -> Batch:
    """Return the batch of these slots."""
    # Stacked in the order in which they lie in memory, views are merely copied.
    pixels = torch.stack([slot.image.permute(1, 2, 0) for slot in slots])
    return to_batch(pixels, [slot.facts for slot in slots])


def to_batch(pixels: Tensor, facts: Sequence[Facts]) -> Batch:
    """Return the batch of ``pixels``, uint8 ``[N, H, W, 3]``, and what is known of each."""
    return Batch(
        pixels.permute(0, 3, 1, 2),
        torch.tensor([known.label for known in facts]),
        torch.tensor([known.weight for known in facts]),
        [known.bad for known in facts if known.bad],
        torch.tensor([known.ticket for known in facts], dtype=torch.int64),
    )
