"""From a source to batches: which image comes when, which random view of it, and in what form.

Every decision is a function of ``(seed, epoch, position)``: the number of workers and of processes, a stop
and a resume in the middle of an epoch change nothing. An image that cannot be read leaves its slot in the
batch blank with weight zero, and so does the padding of the last batch: shapes never change, no image is
counted twice, and none stands in for another.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, Sampler

from ghostclas import imaging
from ghostclas.data.source import Source
from ghostclas.data.transforms import AugmentConfig, training_view
from ghostclas.errors import ImageError
from ghostclas.spec import PreprocessSpec

PADDING = -1
Balance = Literal["none", "sampler", "loss"]


class Ticket(NamedTuple):
    """Which image (``PADDING`` for none), and the seed of its view."""

    image: int
    seed: int


class BadImage(NamedTuple):
    """An image that could not be used."""

    key: str
    message: str


class Slot(NamedTuple):
    """One place in a batch, as a worker fills it."""

    image: Tensor
    label: int
    weight: float
    bad: BadImage | None
    ticket: Ticket


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


def class_weights(samples: Sequence[tuple[str, int]], num_classes: int) -> npt.NDArray[np.float64]:
    """Return one weight per class, inversely proportional to its count, with mean 1 over the images."""
    counts = np.bincount([label for _, label in samples], minlength=num_classes)
    return np.where(counts > 0, len(samples) / (np.maximum(counts, 1) * np.count_nonzero(counts)), 0.0)


def epoch_tickets(
    labels: npt.NDArray[np.int64],
    *,
    seed: int,
    epoch: int,
    balanced: bool = False,
    repeats: int = 1,
    view_seeds: Callable[[npt.NDArray[np.int64], int], npt.NDArray[np.int64] | None] | None = None,
) -> list[Ticket]:
    """Return the order of one epoch: as many tickets as images.

    Each image comes once, unless ``balanced`` draws every class equally often, with replacement, or
    ``repeats`` shows fewer images more often. ``view_seeds(images, epoch)`` may prescribe the views.
    """
    draw = np.random.default_rng([seed, epoch])
    count = len(labels)
    if balanced:
        chance = 1.0 / np.bincount(labels)[labels]
        order = draw.choice(count, size=count, p=chance / chance.sum())
    else:
        order = draw.permutation(count)
    if repeats > 1:
        order = np.repeat(order[: -(-count // repeats)], repeats)[:count]
    prescribed = view_seeds(order, epoch) if view_seeds else None
    seeds = draw.integers(0, 2**62, size=count) if prescribed is None else prescribed
    return [Ticket(int(index), int(view)) for index, view in zip(order, seeds, strict=True)]


class RankBatches(Sampler[list[Ticket]]):
    """The batches of one process: its equal share of every global batch, from step ``start`` on.

    Step ``s`` takes the tickets from ``s * world * size`` on, whatever the number of processes; the last
    batch is filled up with padding.
    """

    def __init__(self, tickets: list[Ticket], size: int, *, rank: int = 0, world: int = 1, start: int = 0):
        self.tickets, self.size, self.rank, self.world, self.start = tickets, size, rank, world, start

    def __len__(self) -> int:
        return max(0, -(-len(self.tickets) // (self.size * self.world)) - self.start)

    def __iter__(self) -> Iterator[list[Ticket]]:
        for step in range(self.start, self.start + len(self)):
            begin = (step * self.world + self.rank) * self.size
            batch = self.tickets[begin : begin + self.size]
            yield batch + [Ticket(PADDING, 0)] * (self.size - len(batch))


class TrainingImages(Dataset[Slot]):
    """Random views ``uint8 [3, resolution, resolution]`` of a source's images."""

    def __init__(self, source: Source, augment: AugmentConfig, resolution: int) -> None:
        self.source, self.resolution = source, resolution
        self.view = training_view(augment, resolution)

    def __getitem__(self, ticket: Ticket) -> Slot:
        if ticket.image == PADDING:
            return _blank(self.resolution, None, ticket)
        sample = self.source.samples[ticket.image]
        try:
            photo = imaging.decode(self.source.read(ticket.image), short_side=self.resolution)
        except ImageError as error:
            return _blank(self.resolution, BadImage(sample.key, str(error)), ticket)
        # torch.manual_seed would also format a stack trace for CUDA, at twice the cost of the view.
        torch.default_generator.manual_seed(ticket.seed)
        return Slot(self.view(photo), sample.label, 1.0, None, ticket)


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
        return Slot(torch.from_numpy(pixels).permute(2, 0, 1), sample.label, 1.0, None, Ticket(index, 0))


def training_loader(images: TrainingImages, batches: RankBatches, *, workers: int) -> DataLoader[Slot]:
    """Return the loader of one epoch, or of the rest of it."""
    return DataLoader(
        images,
        batch_sampler=batches,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=torch.cuda.is_available(),
        prefetch_factor=4 if workers else None,
    )


def evaluation_loader(
    images: EvaluationImages, *, batch_size: int, workers: int, rank: int = 0, world: int = 1
) -> DataLoader[Slot]:
    """Return a loader over this process' share of the images: every image in exactly one process."""
    return DataLoader(
        images,
        sampler=range(rank, len(images), world),
        batch_size=batch_size,
        num_workers=workers,
        collate_fn=_collate,
        pin_memory=torch.cuda.is_available(),
    )


def _blank(resolution: int, bad: BadImage | None, ticket: Ticket) -> Slot:
    return Slot(torch.full((3, resolution, resolution), 128, dtype=torch.uint8), 0, 0.0, bad, ticket)


def _collate(slots: list[Slot]) -> Batch:
    # Views lie in memory as their photos do, channels last: stacked in that order they are merely copied.
    images = torch.stack([slot.image.permute(1, 2, 0) for slot in slots])
    return Batch(
        images.permute(0, 3, 1, 2),
        torch.tensor([slot.label for slot in slots]),
        torch.tensor([slot.weight for slot in slots]),
        [slot.bad for slot in slots if slot.bad],
        torch.tensor([slot.ticket for slot in slots], dtype=torch.int64),
    )
