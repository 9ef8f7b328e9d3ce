"""Views with stored seeds, and a slow teacher's answers to them, computed once.

A training view is a function of the image, the augmentation's settings and one seed
(``training.input``), so the seed is enough to make the view again. The image's content decides its
seeds. Shen and Xing, "A Fast Knowledge Distillation Framework for Visual
Recognition", ECCV 2022, store the augmentation's parameters instead.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
import torchvision
from accelerate import Accelerator
from torch import Tensor

from ghostclas.data.source import Source
from ghostclas.errors import ImageError
from ghostclas.ssld.cache import Keys, LogitCache, content_key
from ghostclas.ssld.run_config import SsldConfig
from ghostclas.ssld.scoring import LOGITS, SHARD, open_view_cache, to_float16
from ghostclas.ssld.teacher import Teacher
from ghostclas.training.input.images import TrainingImages
from ghostclas.training.input.loader import TrainingLoader
from ghostclas.training.input.sampling import SeededIndex, ShardedBatches
from ghostclas.training.input.transforms import VIEWS_VERSION

Int64 = npt.NDArray[np.int64]

_BATCH = 64


@dataclass(frozen=True)
class StoredViews:
    """The stored views of each image, and the cache of their logits.

    Attributes:
        cache: the teacher's logits of each view.
        bases: int64 ``[N]``, multiples of ``number``: the seed of view v of image i is ``bases[i] + v``.
        rows: int64 ``[N, number]``, rows of the cache; -1 for views of unreadable images.
        number: the number of views of each image.
    """

    cache: LogitCache
    bases: Int64
    rows: Int64
    number: int

    def seeds(self, images: Int64, epoch: int) -> Int64:
        """Return the seed of a view for each of these images, int64 ``[M]``.

        Each epoch shows the next view of an image, and so does each repetition within it.
        """
        order = np.argsort(images, kind="stable")
        ranked = images[order]
        starts = np.flatnonzero(np.concatenate([[True], np.diff(ranked) != 0]))
        repetition = np.empty(len(images), np.int64)
        repetition[order] = np.arange(len(images)) - np.repeat(starts, np.diff([*starts, len(images)]))
        return self.bases[images] + (epoch + repetition + self.bases[images] // self.number) % self.number

    def outputs(self, indices: Int64) -> npt.NDArray[np.float16]:
        """Return the teacher's logits of the views of indices ``[M, 2]``, float16 ``[M, outputs]``.

        Those of unreadable images are arbitrary; their weight is 0.
        """
        images, seeds = indices.T
        return np.asarray(self.cache.read(LOGITS, np.maximum(self.rows[images, seeds % self.number], 0)))


def store_views(
    config: SsldConfig,
    teacher: Teacher,
    answer: Callable[[Tensor], Tensor],
    source: Source,
    accelerator: Accelerator,
    *,
    workers: int,
    say: Callable[[str], None],
) -> StoredViews:
    """Compute the teacher's answers to ``distil.views`` views of each image, except those in the cache.

    Each process answers its share; every ``SHARD`` answers are written before the next are computed.

    Raises:
        DataError: the cache is for another teacher or other views, or the disk is full.
    """
    distil = config.distil
    number = distil.views
    view = {
        "augment": config.augment.model_dump(mode="json", exclude={"mixup", "cutmix", "repeats"}),
        "student": config.data.resolution,
        "teacher": distil.resolution or config.data.resolution,
        "views": number,
        "version": VIEWS_VERSION,
        "torch": torch.__version__.split("+")[0],
        "torchvision": torchvision.__version__.split("+")[0],
    }
    if accelerator.is_main_process:
        open_view_cache(teacher, view, distil.cache)
    accelerator.wait_for_everyone()
    cache = open_view_cache(teacher, view, distil.cache)
    content = content_keys(source, threads=max(1, workers))
    bases = (np.ascontiguousarray(content[:, 8:16]).view(np.uint64)[:, 0] >> np.uint64(3)).astype(np.int64)
    bases = bases // number * number
    keys = np.stack([view_keys(content, number_of) for number_of in range(number)], axis=1)
    rows = cache.find(keys.reshape(-1, 32)).reshape(-1, number)
    readable: npt.NDArray[np.bool_] = np.asarray(content.any(axis=1))
    missing = np.argwhere((rows < 0) & readable[:, None])
    if len(missing):
        say(f"storing the teacher's answers to {len(missing)} views in {cache.folder}")
        indices = [SeededIndex(int(image), int(bases[image]) + int(v)) for image, v in missing]
        _ask(config, teacher, answer, source, cache, accelerator, indices, keys, number, workers)
        accelerator.wait_for_everyone()
        cache.refresh()
        rows = cache.find(keys.reshape(-1, 32)).reshape(-1, number)
    return StoredViews(cache, bases, rows, number)


def content_keys(source: Source, *, threads: int) -> Keys:
    """Return the content key of each image, uint8 ``[N, 32]``; zeros for an unreadable one."""

    def key(index: int) -> bytes:
        try:
            return content_key(source.read(index))
        except ImageError:
            return bytes(32)

    with ThreadPoolExecutor(threads) as pool:
        keys = b"".join(pool.map(key, range(len(source.samples))))
    return np.frombuffer(keys, np.uint8).reshape(-1, 32)


def view_keys(content: Keys, number: int) -> Keys:
    """Return the key under which view ``number`` of each image is stored, uint8 ``[N, 32]``."""
    ending = number.to_bytes(4, "big")
    keys = b"".join(hashlib.sha256(row.tobytes() + ending).digest() for row in content)
    return np.frombuffer(keys, np.uint8).reshape(-1, 32)


def _ask(
    config: SsldConfig,
    teacher: Teacher,
    answer: Callable[[Tensor], Tensor],
    source: Source,
    cache: LogitCache,
    accelerator: Accelerator,
    indices: list[SeededIndex],
    keys: Keys,
    number: int,
    workers: int,
) -> None:
    batches = ShardedBatches(indices, _BATCH, rank=accelerator.process_index, world=accelerator.num_processes)
    images = TrainingImages(source, config.augment, config.data.resolution)
    waiting: list[tuple[Keys, npt.NDArray[np.float16]]] = []

    def write() -> None:
        if waiting:
            cache.append(
                np.concatenate([known for known, _ in waiting]),
                {LOGITS: np.concatenate([logits for _, logits in waiting])},
            )
            waiting.clear()

    loader = TrainingLoader(workers=workers, device=accelerator.device.type)
    for batch in loader.epoch(images, batches):
        seen: npt.NDArray[np.bool_] = (batch.weights > 0).numpy()
        if seen.any():
            logits = answer(batch.images[batch.weights > 0].to(accelerator.device).float())
            image, seed = batch.indices.numpy()[seen].T
            waiting.append((keys[image, seed % number], to_float16(logits.float().cpu().numpy(), teacher)))
        if sum(len(known) for known, _ in waiting) >= SHARD:
            write()
    write()
