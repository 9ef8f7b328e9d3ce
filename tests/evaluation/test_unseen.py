"""A model that set photos aside is measured on them; other models and other photos are as ever."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

import ghostclas
from ghostclas.bundle import Bundle, revise_manifest
from ghostclas.data import Subset, open_source, open_splits, source_notes
from ghostclas.data.set_aside import describe_set_aside
from ghostclas.evaluation import evaluate, unseen_part, write_comparison, write_report
from ghostclas.evaluation.unseen import SET_ASIDE
from ghostclas.prediction import Classifier
from tests.colours import THREE, colour_bundle, colour_photo


@pytest.fixture
def lab(tmp_path: Path) -> Path:
    """Six photos a class, all different."""
    for place, name in enumerate(THREE):
        for number in range(6):
            colour_photo(tmp_path / "lab" / name / f"{number}.png", name, strength=255 - 5 * number - place)
    return tmp_path / "lab"


def trained(target: Path, data: Path, *, seed: int = 0, record: object = None) -> Bundle:
    """Return a model that says it was trained on ``data``."""
    if record is None:
        described = describe_set_aside(open_splits(data, seed=seed).val, seed)
        assert described
        record = described.model_dump(mode="json")
    bundle = colour_bundle(target, sorted(THREE))
    return revise_manifest(bundle, lambda manifest: {"provenance": {SET_ASIDE: record}})


def test_the_photos_that_training_set_aside_are_measured(tmp_path: Path, lab: Path) -> None:
    bundle = trained(tmp_path / "model", lab)
    part = unseen_part(open_source(lab), [bundle])
    assert [s.key for s in part.samples] == [s.key for s in open_splits(lab).val.samples]
    assert source_notes(part)[-1] == (
        "measured on the 3 of 18 images that training set aside; --split all measures on all"
    )
    assert ghostclas.evaluate(bundle, lab).images == 3
    assert ghostclas.evaluate(bundle, lab, split="all").images == 18
    assert ghostclas.evaluate(bundle, open_source(lab)).images == 18, "an open source is what it is"
    with Classifier.load(bundle) as classifier:
        evaluation = evaluate(classifier, lab)
    assert evaluation.images == 3
    assert evaluation.as_dict()["notes"] == list(source_notes(part))
    page = write_report(evaluation, tmp_path / "report").read_text(encoding="utf-8")
    assert "Notes: measured on the 3 of 18 images that training set aside" in page


def test_a_folder_that_has_changed_is_measured_with_a_word(tmp_path: Path, lab: Path) -> None:
    bundle = trained(tmp_path / "model", lab)
    for number in range(40, 60):
        colour_photo(lab / "red" / f"{number}.png", "red", strength=255 - number)
    part = unseen_part(open_source(lab), [bundle])
    assert 3 < len(part.samples) < 38
    changed = "aside, by their names: some were added, removed or renamed since; --split all"
    assert changed in source_notes(part)[-1]


def test_where_none_is_left_all_are_measured_with_a_word(tmp_path: Path, lab: Path) -> None:
    bundle = trained(tmp_path / "model", lab)
    for sample in open_splits(lab).val.samples:
        (lab / sample.key).unlink()
    part = unseen_part(open_source(lab), [bundle])
    assert len(part.samples) == 15
    assert "set none of the 15 images aside" in source_notes(part)[-1]
    assert "learned from" in source_notes(part)[-1]


def test_two_models_are_compared_on_what_neither_has_seen(tmp_path: Path, lab: Path) -> None:
    bundles = [trained(tmp_path / f"{seed}", lab, seed=seed) for seed in (0, 1)]
    first, second = ({s.key for s in open_splits(lab, seed=seed).val.samples} for seed in (0, 1))
    part = unseen_part(open_source(lab), bundles)
    assert {s.key for s in part.samples} == first & second
    assert source_notes(part)[-1].startswith("measured on the 1 of 18 images that both trainings set aside")
    stranger = colour_bundle(tmp_path / "stranger", sorted(THREE))
    comparison = ghostclas.compare(bundles[0], stranger, lab)
    assert comparison.images == 3
    (said,) = comparison.as_dict()["notes"]
    assert said.startswith("measured on the 3 of 18 images that training set aside")
    page = write_comparison(comparison, tmp_path / "report").read_text(encoding="utf-8")
    assert "Notes: measured on the 3 of 18 images that training set aside" in page
    assert ghostclas.compare(stranger, stranger, lab).images == 18


@pytest.mark.parametrize("record", ["text", 5, [], {"seed": 0}, {"bounds": ["zz"]}])
def test_a_record_that_is_none_changes_nothing(tmp_path: Path, lab: Path, record: object) -> None:
    bundle = trained(tmp_path / "model", lab, record=record)
    source = open_source(lab)
    assert unseen_part(source, [bundle]) is source


def test_other_photos_are_measured_whole(tmp_path: Path, lab: Path) -> None:
    bundle = trained(tmp_path / "model", lab)
    other = shutil.copytree(lab, tmp_path / "other")
    for photo in other.rglob("*.png"):
        colour_photo(photo, photo.parent.name, strength=100 + int(photo.stem))
    source = open_source(other)
    assert unseen_part(source, [bundle]) is source


def test_classes_of_a_folder_in_another_order_keep_their_bounds(tmp_path: Path, lab: Path) -> None:
    bundle = trained(tmp_path / "model", lab)
    shutil.rmtree(lab / "blue")
    part = unseen_part(open_source(lab), [bundle])
    assert isinstance(part, Subset)
    assert np.array_equal([s.key.split("/")[0] for s in part.samples], ["green", "red"])
