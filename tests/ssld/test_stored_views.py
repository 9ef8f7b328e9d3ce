"""A teacher's stored answers belong to the views that the student sees."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from ghostclas.errors import DataError
from ghostclas.ssld.config import TeacherConfig
from ghostclas.ssld.objective import StoredDistillation
from ghostclas.ssld.torch_teacher import open_torch_teacher
from ghostclas.training.input.images import TrainingImages
from ghostclas.training.input.sampling import SeededIndex
from tests.ssld.distilling import objective


def test_stored_answers_are_the_teachers_to_the_views_that_their_seeds_make_again(
    folder: Path, teacher: Path, tmp_path: Path
) -> None:
    found, config, source = objective(folder, teacher, "distil.views=3", f"distil.cache={tmp_path / 'cache'}")
    assert isinstance(found, StoredDistillation)
    images = np.array([0, 5, 5, 7])
    seeds = found.seeds(images, epoch=1)
    assert seeds[1] != seeds[2], "an image that comes twice in an epoch shows another view"
    assert len({int(found.seeds(np.array([5]), epoch)[0]) for epoch in range(3)}) == 3
    assert found.seeds(np.array([5]), 0) == found.seeds(np.array([5]), 3)
    views = TrainingImages(source, config.augment, 32)
    examples = [views[SeededIndex(int(image), int(seed))] for image, seed in zip(images, seeds, strict=True)]
    pixels = torch.stack([example.image for example in examples]).float()
    alone = open_torch_teacher(TeacherConfig(model=str(teacher)))
    indices = np.stack([images, seeds], axis=1)
    np.testing.assert_allclose(
        found.stored.outputs(indices), alone.answer(pixels).numpy(), atol=0.02, err_msg="fp16 and no more"
    )
    before = len(found.stored.cache)
    assert before == 3 * len(source.samples)
    again, _, _ = objective(folder, teacher, "distil.views=3", f"distil.cache={tmp_path / 'cache'}")
    assert len(again.stored.cache) == before, "nothing was asked twice"
    with pytest.raises(DataError, match=r"other views of the images: .*views 3, not 4"):
        objective(folder, teacher, "distil.views=4", f"distil.cache={tmp_path / 'cache'}")
