"""The teacher's outputs are mapped to classes by name or by a file; errors name the classes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from ghostclas.data import open_splits
from ghostclas.errors import DataError
from ghostclas.ssld.classmap import ClassMap, class_folders, map_classes
from tests.data.trees import make_folder

LABELS = (
    ("n01", "ant, emmet", "ant"),
    ("n02", "bee", "bee"),
    ("n03", "cat", "cat"),
    ("n04", "big cat", "cat"),
)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    root = make_folder(tmp_path / "data", {"n01": 3, "n02": 3, "n03": 3})
    (root / "classes.csv").write_text("n01,an ant\nn02,a bee\nn03,a cat\n")
    return root


def test_folders_named_by_identifiers_are_matched_whatever_the_classes_are_called(data: Path) -> None:
    train = open_splits(data).train
    assert class_folders(train) == ("n01", "n02", "n03")
    assert map_classes(LABELS, 4, train, "t", None).columns == ((0,), (1,), (2,))


def test_a_teacher_with_other_classes_and_no_mapping_is_refused_by_name(data: Path) -> None:
    with pytest.raises(DataError) as caught:
        map_classes((("dog",), ("a bee",)), 2, open_splits(data).train, "runs/dogs", None)
    message = str(caught.value)
    assert "the teacher runs/dogs (2 outputs) does not know 2 of the 3 classes" in message
    assert "'an ant', 'a cat'" in message
    assert "--mapping FILE, a CSV of output,class rows" in message


def test_a_teacher_without_names_says_so(data: Path) -> None:
    with pytest.raises(DataError, match=r"\(7 outputs without names\) does not know 3 of the 3 classes"):
        map_classes(None, 7, open_splits(data).train, "t", None)


def test_a_name_that_two_outputs_have_decides_nothing(tmp_path: Path) -> None:
    train = open_splits(make_folder(tmp_path, {"ant": 3, "cat": 3})).train
    with pytest.raises(DataError, match=r"does not know 1 of the 2 classes .*'cat'"):
        map_classes(LABELS, 4, train, "t", None)


def test_a_file_maps_indices_and_names_and_several_outputs_to_one_class(data: Path, tmp_path: Path) -> None:
    file = tmp_path / "map.csv"
    file.write_text("output,class\n0,an ant\nbee,n02\nn03,a cat\n3,a cat\n")
    mapped = map_classes(LABELS, 4, open_splits(data).train, "t", file)
    assert mapped.columns == ((0,), (1,), (2, 3))
    assert not mapped.is_identity


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("0,an ant\n9,a bee\n", r"line 2: expected a teacher's output .*0 to 3"),
        ("0,an ant\n1,wasp\n", "line 2: expected"),
        ("0,an ant\n0,a bee\n", "line 2: output '0' is given to two classes"),
        ("0,an ant\n1,a bee\n", r"does not know 1 of the 3 classes .*'a cat'\n.*add a row for each"),
    ],
)
def test_a_file_that_does_not_fit_is_refused_by_line(
    text: str, message: str, data: Path, tmp_path: Path
) -> None:
    file = tmp_path / "map.csv"
    file.write_text(text)
    with pytest.raises(DataError, match=message):
        map_classes(LABELS, 4, open_splits(data).train, "t", file)


def test_probabilities_are_the_teachers_and_logits_are_conditional_on_our_classes() -> None:
    outputs = np.log(np.array([[0.1, 0.2, 0.3, 0.4]], np.float32))
    mapped = ClassMap(((0,), (2, 3)), 4)
    np.testing.assert_allclose(mapped.probabilities(outputs), [[0.1, 0.7]], rtol=1e-5)
    softmax = np.exp(mapped.logits(outputs))
    np.testing.assert_allclose(softmax / softmax.sum(), [[0.125, 0.875]], rtol=1e-5)
    assert ClassMap(((0,), (1,)), 2).is_identity


@pytest.mark.parametrize("output", ["9" * 5000, "x" * 100_000, "-1", "٣", "0\0"])
def test_an_output_that_is_none_is_refused_in_one_short_line(output: str, data: Path, tmp_path: Path) -> None:
    mapping = tmp_path / "mapping.csv"
    mapping.write_text(f"output,class\n{output},n01\n", encoding="utf-8")
    with pytest.raises(DataError) as caught:
        map_classes(LABELS, 4, open_splits(data).train, "t", mapping)
    assert len(str(caught.value)) < 600
    assert "\n" not in str(caught.value)
