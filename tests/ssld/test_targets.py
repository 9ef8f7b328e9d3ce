"""The teacher's logits of our classes, the same in torch and in numpy."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from ghostclas.ssld.classmap import ClassMap
from ghostclas.ssld.targets import select


@pytest.mark.parametrize(
    "columns", [((0,), (1,), (2,), (3,)), ((3,), (1,)), ((0, 2), (3,), (1,))], ids=["same", "some", "merged"]
)
def test_outputs_are_selected_and_merged_as_the_class_map_does(columns: tuple[tuple[int, ...], ...]) -> None:
    classes = ClassMap(columns, outputs=4)
    outputs = np.random.default_rng(0).normal(size=(5, 4)).astype(np.float32)
    found = select(torch.from_numpy(outputs), classes)
    np.testing.assert_allclose(found.numpy(), classes.logits(outputs), rtol=1e-5)
