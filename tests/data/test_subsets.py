"""Some of the images of a source, or the same images under other indices."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ghostclas.data import Subset, align_source, open_source
from ghostclas.errors import DataError
from tests.data.stored import CLASSES


def test_align_source_remaps_by_name(photos: Path) -> None:
    source = open_source(photos)
    aligned = align_source(source, ["zebra", "cat", "bee", "ant"])
    assert [aligned.classes[s.label] for s in aligned.samples] == [
        source.classes[s.label] for s in source.samples
    ]
    assert list(aligned.classes) == ["zebra", "cat", "bee", "ant"]
    assert aligned.read(2) == source.read(2)
    assert align_source(source, CLASSES) is source


def test_a_subset_of_an_aligned_source_keeps_labels_and_images(photos: Path) -> None:
    source = open_source(photos)
    subset = Subset(align_source(source, ["cat", "bee", "ant"]), np.array([11, 0]))
    assert [s.label for s in subset.samples] == [0, 2]
    assert [subset.read(0), subset.read(1)] == [source.read(11), source.read(0)]


def test_differing_class_names_are_told_with_their_places(photos: Path) -> None:
    with pytest.raises(DataError) as caught:
        align_source(open_source(photos), ["Ant", "bee", "cat"])
    assert str(caught.value).splitlines() == [
        f"class names differ between the model and {photos}",
        "       only in the model: 'Ant' (class 0)",
        "       only in the data:  'ant' (class 0)",
        "       rename the classes of the data, or name a model that knows them: --model runs/...",
    ]
