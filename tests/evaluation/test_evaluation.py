"""``evaluate`` on a real bundle whose answers are known: the colours of ``tests/colours.py``."""

from __future__ import annotations

import errno
import json
import os
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from ghostclas import imaging
from ghostclas.bundle import Bundle, pack, record_metric
from ghostclas.data import open_source
from ghostclas.errors import BundleError, DataError
from ghostclas.evaluation import check_writable, dataset_name, evaluate, evaluation, store_temperature
from ghostclas.prediction import Classifier
from tests.colours import COLOURS, colour_bundle, colour_folder, colour_photo


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return colour_bundle(tmp_path_factory.mktemp("bundles") / "colours")


@pytest.fixture(scope="module")
def classifier(bundle: Bundle) -> Iterator[Classifier]:
    with Classifier.load(bundle, threads=1, batch_size=4) as loaded:
        yield loaded


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """Nine photos of three classes, seven of them in the folder of their colour, and one broken file."""
    root = colour_folder(
        tmp_path / "photos",
        {
            "blue": ["blue", "blue", "red"],
            "green": ["green", "green"],
            "red": ["red", "red", "red", "green"],
        },
    )
    whole = (root / "red" / "0.png").read_bytes()
    (root / "green" / "9.png").write_bytes(whole[: len(whole) // 2])
    return root


def test_counts_are_those_of_the_photos(classifier: Classifier, photos: Path) -> None:
    result = evaluate(classifier, open_source(photos))
    assert (result.images, result.correct_top1, result.top1, result.top5) == (9, 7, 77.7778, None)
    # The folders are in another order than the model's classes: red, green, blue.
    assert result.classes == ("red", "green", "blue")
    assert result.confusion.dense().tolist() == [[3, 1, 0], [0, 2, 0], [1, 0, 2]]
    assert [(c.support, c.predicted, c.correct) for c in result.per_class] == [
        (4, 4, 3),
        (2, 3, 2),
        (3, 2, 2),
    ]
    assert result.confused() == [(0, 1, 1), (2, 0, 1)]
    assert {result.key(row) for row in result.mistakes().tolist()} == {"blue/2.png", "red/3.png"}
    assert result.images_per_second > 0


def test_a_broken_file_is_listed_and_in_no_figure(classifier: Classifier, photos: Path) -> None:
    result = evaluate(classifier, open_source(photos))
    (bad,) = result.bad
    assert (bad.key, bad.code) == ("green/9.png", "truncated")
    assert bad.message
    assert "green/9.png" not in {result.key(row) for row in range(result.images)}
    assert len(result.labels) == len(result.logits) == len(result.indices) == 9


def test_many_answers_lie_in_a_file_and_give_the_same_figures(
    classifier: Classifier, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    in_memory = evaluate(classifier, open_source(photos))
    assert not isinstance(in_memory.logits.base, np.memmap)
    monkeypatch.setattr(evaluation, "VALUES_IN_MEMORY", 29)
    in_file = evaluate(classifier, open_source(photos))
    base = in_file.logits
    while not isinstance(base, np.memmap):
        assert isinstance(base.base, np.ndarray)
        base = base.base
    assert in_file.as_dict() == in_memory.as_dict()
    np.testing.assert_array_equal(in_file.logits, in_memory.logits)
    np.testing.assert_array_equal(in_file.confidence, in_memory.confidence)


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux reserves the room")
def test_no_room_for_many_answers_is_said_before_the_work(
    classifier: Classifier, photos: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(descriptor: int, start: int, size: int) -> None:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(evaluation, "VALUES_IN_MEMORY", 0)
    monkeypatch.setattr(os, "posix_fallocate", full)
    with pytest.raises(DataError, match=r"the answers to 10 images need 0\.0 GB in .*: No space left"):
        evaluate(classifier, open_source(photos))


def test_answers_are_those_of_the_deployed_path(classifier: Classifier, photos: Path) -> None:
    result = evaluate(classifier, open_source(photos))
    pixels = np.stack(
        [imaging.preprocess(photos / result.key(row), classifier.preprocess) for row in range(result.images)]
    )
    np.testing.assert_array_equal(result.logits, classifier.logits(pixels))
    assert result.logits.dtype == np.float32
    for row in range(result.images):
        (prediction,) = classifier.predict(photos / result.key(row), top=1)
        assert prediction.top[0].index == result.predicted[row]
        assert prediction.top[0].score == pytest.approx(result.confidence[row], rel=1e-6)


def test_the_same_measurement_gives_the_same_json(
    bundle: Bundle, classifier: Classifier, photos: Path
) -> None:
    first = json.dumps(evaluate(classifier, open_source(photos)).as_dict(), allow_nan=False)
    with Classifier.load(bundle, threads=1, batch_size=4) as again:
        assert json.dumps(evaluate(again, open_source(photos)).as_dict(), allow_nan=False) == first


def test_json_has_counts_ratios_and_where_they_come_from(classifier: Classifier, photos: Path) -> None:
    figures = evaluate(classifier, open_source(photos)).as_dict()
    assert (figures["images"], figures["correct_top1"], figures["correct_top5"]) == (9, 7, None)
    assert figures["model"] == "colours"
    assert figures["through"].startswith("onnxruntime ")
    assert figures["dataset"] == str(photos)
    counts, ratios = (
        {"support": 4, "predicted": 4, "correct": 3},
        {"precision": 0.75, "recall": 0.75, "f1": 0.75},
    )
    assert figures["per_class"][0] == {"name": "red", **counts, **ratios}
    assert sum(b["count"] for b in figures["calibration"]["bins"]) == 9
    assert figures["bad"][0]["code"] == "truncated"


def test_top5_is_given_beyond_five_classes(tmp_path: Path) -> None:
    bundle = colour_bundle(tmp_path / "six", tuple(COLOURS))
    # For a black photo all logits are zero: the order is that of the indices, and yellow is the sixth.
    folder = tmp_path / "photos"
    for name in COLOURS:
        colour_photo(folder / name / "dark.png", "red", strength=0)
    with Classifier.load(bundle, threads=1) as classifier:
        result = evaluate(classifier, open_source(folder))
    assert (result.correct_top1, result.correct_top5, result.top5) == (1, 5, 83.3333)


def test_data_may_lack_classes_of_the_model(classifier: Classifier, tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"blue": ["blue"], "red": ["red", "blue"]})
    result = evaluate(classifier, open_source(folder))
    assert result.confusion.dense().tolist() == [[1, 0, 1], [0, 0, 0], [0, 0, 1]]
    assert result.mean_recall == 0.75


def test_data_may_not_have_other_classes(classifier: Classifier, tmp_path: Path) -> None:
    folder = colour_folder(tmp_path / "photos", {"Red": ["red"], "green": ["green"], "blue": ["blue"]})
    with pytest.raises(DataError, match="class names differ") as failure:
        evaluate(classifier, open_source(folder))
    assert "'red' (class 0)" in str(failure.value)
    assert "'Red' (class 0)" in str(failure.value)


def test_a_file_that_vanishes_keeps_the_others_in_their_places(classifier: Classifier, photos: Path) -> None:
    source = open_source(photos)
    (photos / "blue" / "0.png").unlink()
    result = evaluate(classifier, source)
    assert [(image.key, image.code) for image in result.bad] == [
        ("blue/0.png", "not_found"),
        ("green/9.png", "truncated"),
    ]
    assert result.confusion.dense().tolist() == [[3, 1, 0], [0, 2, 0], [1, 0, 1]]


def test_nothing_to_measure_is_an_error(classifier: Classifier, tmp_path: Path) -> None:
    for name in ("red", "green"):
        path = tmp_path / "photos" / name / "0.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"no image")
    with pytest.raises(DataError, match=r"none of the 2 images of .*photos can be read: green/0\.png: "):
        evaluate(classifier, open_source(tmp_path / "photos"))


def test_answers_that_are_no_numbers_are_an_error(tmp_path: Path) -> None:
    broken = colour_bundle(tmp_path / "broken", sharpness=float("inf"))
    folder = colour_folder(tmp_path / "photos", {"red": ["red"], "green": ["green"]})
    with (
        Classifier.load(broken, threads=1) as classifier,
        pytest.raises(BundleError, match=r"broken answers green/0\.png with logits that are not finite"),
    ):
        evaluate(classifier, open_source(folder))


def test_progress_rises_to_the_number_of_files_and_ends_there(classifier: Classifier, photos: Path) -> None:
    calls: list[tuple[int, int | None]] = []
    evaluate(classifier, open_source(photos), progress=lambda done, total: calls.append((done, total)))
    assert [total for _, total in calls] == [10] * len(calls)
    counts = [done for done, _ in calls]
    assert counts == sorted(set(counts))
    assert counts[-1] == 10


@pytest.mark.skipif(sys.platform != "linux", reason="other systems refuse such names")
def test_a_name_that_is_not_utf8_can_be_written_down(classifier: Classifier, photos: Path) -> None:
    os.rename(photos / "red" / "3.png", os.fsencode(photos / "red") + b"/caf\xe9.png")  # noqa: PTH104
    os.rename(photos / "green" / "9.png", os.fsencode(photos / "green") + b"/\xff.png")  # noqa: PTH104
    result = evaluate(classifier, open_source(photos))
    assert "red/caf\\udce9.png" in {result.key(row) for row in range(result.images)}
    assert "\\udcff.png" in json.dumps(result.as_dict(), ensure_ascii=False).encode().decode()


# ------------------------------------------------------------------ what goes into the bundle


def test_a_stored_temperature_is_the_one_that_was_fitted(tmp_path: Path, photos: Path) -> None:
    bundle = colour_bundle(tmp_path / "colours")
    with Classifier.load(bundle, threads=1) as classifier:
        before = evaluate(classifier, open_source(photos))
    stored = store_temperature(bundle, before.fitted)
    assert Bundle.open(bundle.path).postprocess.temperature == before.fitted.temperature
    with Classifier.load(stored, threads=1) as classifier:
        after = evaluate(classifier, open_source(photos))
    assert after.fitted.before == after.fitted.after == before.fitted.after
    assert after.calibration.nll < before.calibration.nll
    assert after.confusion.cells() == before.confusion.cells()
    np.testing.assert_allclose(after.probabilities, imaging.softmax(before.logits, before.fitted.temperature))


def test_a_temperature_that_the_data_leave_open_is_not_stored(tmp_path: Path) -> None:
    bundle = colour_bundle(tmp_path / "colours")
    folder = colour_folder(tmp_path / "photos", {"red": ["red"], "green": ["green"], "blue": ["blue"]})
    with Classifier.load(bundle, threads=1) as classifier:
        result = evaluate(classifier, open_source(folder))
    with pytest.raises(DataError, match="determine no temperature"):
        store_temperature(bundle, result.fitted)
    assert Bundle.open(bundle.path).postprocess.temperature == 1.0


def test_the_recorded_metric_is_the_measured_one(tmp_path: Path, photos: Path) -> None:
    bundle = colour_bundle(tmp_path / "colours")
    with Classifier.load(bundle, threads=1) as classifier:
        metric = evaluate(classifier, open_source(photos)).metric("photos")
    bundle = record_metric(record_metric(bundle, metric), metric)
    assert bundle.manifest.metrics == (metric,)
    assert (metric.dataset, metric.images, metric.top1, metric.top5) == ("photos", 9, 77.7778, None)


def test_an_archive_is_refused_before_the_work(bundle: Bundle, tmp_path: Path) -> None:
    check_writable(bundle)
    with pytest.raises(BundleError, match="archive"):
        check_writable(Bundle.open(pack(bundle, tmp_path / "colours.zip")))


def test_a_data_set_is_named_after_its_folder_and_part(tmp_path: Path) -> None:
    for part in ("train", "val"):
        colour_folder(tmp_path / "shop" / part, {"red": ["red"], "green": ["green"]})
    whole = tmp_path / "shop"
    assert dataset_name(whole, open_source(whole)) == "shop/val"
    assert dataset_name(whole, open_source(whole, "train")) == "shop/train"
    assert dataset_name(whole / "val", open_source(whole / "val")) == "val"
    with zipfile.ZipFile(tmp_path / "shop.zip", "w") as archive:
        for path in sorted(whole.rglob("*.png")):
            archive.write(path, path.relative_to(tmp_path))
    assert dataset_name(tmp_path / "shop.zip", open_source(tmp_path / "shop.zip")) == "shop/val"


def test_images_may_be_given_by_their_path(classifier: Classifier, photos: Path) -> None:
    by_path, opened = (evaluate(classifier, source).top1 for source in (str(photos), open_source(photos)))
    assert by_path == opened
