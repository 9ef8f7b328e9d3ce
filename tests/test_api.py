"""The public verbs, with every way to name a model."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from torch import nn

import ghostclas
from ghostclas import Bundle, Classifier, Prediction, Run, UsageError
from ghostclas.bundle import copy_bundle
from ghostclas.data import open_source
from ghostclas.zoo import EFFICIENTNET_LITE, ZOO
from tests.images import write_photo


@pytest.fixture(scope="module")
def classifier(small_bundle: Bundle) -> Classifier:
    return ghostclas.load(small_bundle.path, engine="onnxruntime")


@pytest.fixture
def labelled(small_bundle: Bundle, tmp_path: Path) -> Path:
    """Four photos a class of the bundle's first two classes."""
    for name in small_bundle.classes[:2]:
        for number in range(4):
            photo = tmp_path / "photos" / name / f"{number}.jpg"
            photo.parent.mkdir(parents=True, exist_ok=True)
            write_photo(photo, seed=number)
    return tmp_path / "photos"


def test_load_gives_the_built_in_model_when_nothing_is_named() -> None:
    with ghostclas.load() as classifier:
        assert isinstance(classifier, Classifier)
        assert len(classifier.classes) == 200


def test_one_photo_is_answered_with_one_prediction(classifier: Classifier, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "photo.jpg", seed=1)
    for one in (photo, str(photo), photo.read_bytes(), np.zeros((50, 60, 3), np.uint8)):
        prediction = classifier(one)
        assert isinstance(prediction, Prediction)
        assert prediction.label == prediction.top[0].label
        assert prediction.score == prediction.top[0].score
    assert len(classifier(photo, top=2).top) == 2


def test_several_photos_are_answered_with_a_list(classifier: Classifier, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "photo.jpg", seed=1)
    for several in ([photo], (p for p in [photo]), [photo, photo], np.zeros((2, 50, 60, 3), np.uint8)):
        answers = classifier(several)
        assert isinstance(answers, list)
        assert all(isinstance(answer, Prediction) for answer in answers)
    assert classifier([photo])[0] == classifier(photo)
    assert classifier([]) == []


def test_a_photo_that_cannot_be_read_has_neither_label_nor_score(
    classifier: Classifier, tmp_path: Path
) -> None:
    prediction = classifier(tmp_path / "gone.jpg")
    assert prediction.error is not None
    assert (prediction.label, prediction.score) == (None, None)


def test_a_classifier_shows_what_it_is(classifier: Classifier, small_bundle: Bundle) -> None:
    assert repr(classifier) == f"<Classifier {small_bundle.name}: 7 classes, 64 x 64 pixels, onnxruntime>"
    page = classifier._repr_html_()
    assert small_bundle.name in page
    assert "tabby, tabby cat" in page


def test_models_are_listed_by_pattern() -> None:
    assert ghostclas.list_models() == sorted([*ZOO, *EFFICIENTNET_LITE])
    assert "ghostnet_x1_3_ssld" in ghostclas.list_models("*_ssld")
    assert ghostclas.list_models("*.nothing") == []
    published = ghostclas.list_models(pretrained=True)
    assert "ghostnet_x1_0" in published
    assert "ghostnet_050" not in published


def outputs(network: nn.Module) -> int:
    assert isinstance(network.classifier, nn.Linear)
    return network.classifier.out_features


def test_a_network_is_made_by_name_with_as_many_outputs_as_asked_for() -> None:
    assert outputs(ghostclas.create_model("ghostnet_x0_5")) == 1000
    assert outputs(ghostclas.create_model("ghostnet_x0_2", num_classes=3)) == 3
    with pytest.raises(UsageError, match="did you mean"):
        ghostclas.create_model("ghostnet_x1.0")
    with pytest.raises(UsageError, match="nobody published weights for ghostnet_050"):
        ghostclas.create_model("ghostnet_050", pretrained=True)


def test_a_network_starts_from_the_weights_that_are_named(small_bundle: Bundle) -> None:
    import torch

    from ghostclas.models.saved import bundle_state

    wanted = bundle_state(small_bundle)
    whole = ghostclas.create_model("ghostnet_x0_5", pretrained=small_bundle.path)
    assert outputs(whole) == 7
    torch.testing.assert_close(whole.state_dict()["classifier.weight"], wanted["classifier.weight"])

    changed = ghostclas.create_model("ghostnet_x0_5", pretrained=small_bundle.path, num_classes=3)
    assert outputs(changed) == 3
    torch.testing.assert_close(changed.state_dict()["stem.conv.weight"], wanted["stem.conv.weight"])


def test_evaluate_takes_a_path_a_bundle_or_a_classifier(
    classifier: Classifier, small_bundle: Bundle, labelled: Path
) -> None:
    once = ghostclas.evaluate(classifier, labelled)
    assert once.images == 8
    for model in (small_bundle, small_bundle.path, str(small_bundle.path)):
        assert ghostclas.evaluate(model, labelled, engine="onnxruntime").as_dict() == once.as_dict()
    assert ghostclas.evaluate(classifier, open_source(labelled)).as_dict() == once.as_dict()
    with pytest.raises(UsageError, match="an open classifier has its engine"):
        ghostclas.evaluate(classifier, labelled, engine="onnxruntime")


def test_compare_takes_the_same(classifier: Classifier, small_bundle: Bundle, labelled: Path) -> None:
    for first, second in ((classifier, small_bundle.path), (small_bundle, classifier), (small_bundle,) * 2):
        comparison = ghostclas.compare(first, second, labelled)
        assert comparison.images == 8
        assert comparison.agreement == 100
        assert comparison.a.through == comparison.b.through
    with pytest.raises(UsageError, match="in bf16"):
        ghostclas.compare(small_bundle, small_bundle, labelled, engine="onnxruntime", precision="bf16")


def test_export_does_the_work_and_returns_the_bundle(small_bundle: Bundle, tmp_path: Path) -> None:
    seen: list[str] = []
    bundle = ghostclas.export(
        small_bundle.path, output=tmp_path / "copy", on_result=lambda result: seen.append(result.format)
    )
    assert bundle.path == tmp_path / "copy"
    assert Bundle.open(tmp_path / "copy").classes == small_bundle.classes
    assert seen == ["onnx"]
    with pytest.raises(UsageError, match="there is no format 'onx'"):
        ghostclas.export(small_bundle.path, "onx", output=tmp_path / "other")


def test_verify_reports_and_records(tiny_bundle: Bundle) -> None:
    report = ghostclas.verify(tiny_bundle.path, engines=["onnxruntime"], record=True)
    assert report.ok
    assert [result.engine for result in Bundle.open(tiny_bundle.path).manifest.parity] == ["onnxruntime"]
    assert (tiny_bundle.path / "parity.json").is_file()


@pytest.fixture
def run(small_bundle: Bundle, tmp_path: Path) -> Run:
    """A run as training returns it, over a copy of the small bundle."""
    path = tmp_path / "runs" / "pets"
    bundle = copy_bundle(small_bundle, path / "bundle").path
    return Run(path, bundle, epochs=3, top1=62.5, top5=87.5, bad_images=0)


def test_a_run_has_the_figures_of_its_validation(run: Run) -> None:
    assert run.metrics == {"top1": 62.5, "top5": 87.5}
    assert replace(run, top5=None).metrics == {"top1": 62.5}, "of five classes or fewer"


def test_a_run_shows_what_came_out(run: Run) -> None:
    assert repr(run) == f"<Run {run.path}: top-1 62.50 %, top-5 87.50 % after 3 epochs>"
    assert repr(replace(run, top5=None)) == f"<Run {run.path}: top-1 62.50 % after 3 epochs>"
    page = run._repr_html_()
    for shown in ("62.50 %", "87.50 %", str(run.bundle), str(run.path / "report" / "index.html")):
        assert shown in page


def test_a_run_opens_its_classifier_once(run: Run, tmp_path: Path) -> None:
    photo = write_photo(tmp_path / "photo.jpg", seed=1)
    assert run.classifier is run.classifier
    assert run.classifier(photo) == ghostclas.load(run.bundle)(photo)


def test_a_run_stands_wherever_a_model_is_named(run: Run, labelled: Path) -> None:
    assert os.fspath(run) == str(run.path)
    assert ghostclas.load(run).classes == run.classifier.classes
    assert ghostclas.evaluate(run, labelled).images == 8
    assert ghostclas.verify(run, engines=["onnxruntime"]).ok
