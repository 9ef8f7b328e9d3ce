"""The table of an evaluation: a row an image, and no formula."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import numpy as np
import pytest

from ghostclas.data import open_source
from ghostclas.evaluation import Evaluation, evaluate
from ghostclas.evaluation.table import write_table
from ghostclas.prediction import Classifier
from tests.colours import COLOURS, colour_bundle, colour_folder, colour_photo


def rows_of(evaluation: Evaluation) -> list[dict[str, str]]:
    to = io.StringIO(newline="")
    write_table(evaluation, to)
    return list(csv.DictReader(io.StringIO(to.getvalue(), newline="")))


def evaluated(tmp_path: Path, folder: Path, *classes: str, temperature: float = 1.0) -> Evaluation:
    bundle = colour_bundle(tmp_path / "colours", classes, temperature=temperature)
    with Classifier.load(bundle, threads=1) as classifier:
        return evaluate(classifier, open_source(folder))


@pytest.mark.parametrize("temperature", [1.0, 3.0])
def test_each_image_has_its_answer_and_the_place_of_its_label(tmp_path: Path, temperature: float) -> None:
    folder = colour_folder(tmp_path / "photos", {"red": ["red", "green"], "blue": ["blue"], "yellow": []})
    colour_photo(folder / "yellow" / "dim.png", "red", strength=100)
    (folder / "blue" / "bad.png").write_bytes(b"")
    evaluation = evaluated(tmp_path, folder, *COLOURS, temperature=temperature)
    rows = rows_of(evaluation)
    assert [row["file"] for row in rows] == [
        "blue/0.png",
        "red/0.png",
        "red/1.png",
        "yellow/dim.png",
        "blue/bad.png",
    ]
    assert [row["label"] for row in rows] == ["blue", "red", "red", "yellow", ""]
    assert [row["answer"] for row in rows[:3]] == ["blue", "red", "green"]
    assert [row["right"] for row in rows] == ["true", "true", "false", "false", ""]
    assert [row["rank"] == "1" for row in rows[:4]] == [True, True, False, False]
    assert (rows[4]["error"], rows[4]["score"]) == ("empty", "")
    for place, row in enumerate(rows[:4]):
        scores = evaluation.probabilities[place]
        label = evaluation.classes.index(row["label"])
        assert float(row["score"]) == pytest.approx(scores.max(), abs=1e-6)
        assert float(row["label_score"]) == pytest.approx(scores[label], abs=1e-6)
        before = int(
            np.count_nonzero(scores > scores[label]) + np.count_nonzero(scores[:label] == scores[label])
        )
        assert int(row["rank"]) == 1 + before, "the lower class comes first among equals"
        shown = [float(row["score"]), *(float(row[f"score_{number}"]) for number in range(2, 6))]
        assert shown == sorted(shown, reverse=True)
        names = [row["answer"], *(row[f"answer_{number}"] for number in range(2, 6))]
        assert len(set(names)) == 5


def test_few_classes_have_few_columns(tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"red": ["red"]})
    (row,) = rows_of(evaluated(tmp_path, folder, "red", "blue"))
    assert list(row)[-2:] == ["answer_2", "score_2"]


def test_a_name_is_no_formula_and_no_second_row(tmp_path: Path) -> None:
    folder = tmp_path / "photos"
    colour_photo(folder / "red" / "a\rb,\n.png", "red")
    colour_photo(folder / "=cmd" / "a.png", "blue")
    bundle = colour_bundle(tmp_path / "colours", ("=cmd", "red"), says={"=cmd": "blue"})
    with Classifier.load(bundle, threads=1) as classifier:
        rows = rows_of(evaluate(classifier, open_source(folder)))
    assert [(row["file"], row["answer"]) for row in rows] == [
        ("'=cmd/a.png", "'=cmd"),
        ("red/a\rb,\n.png", "red"),
    ]
