"""``Classifier`` and ``PredictionFiles`` on a real engine."""

from __future__ import annotations

import io
import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Generator, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from ghostclas import imaging
from ghostclas.bundle import Bundle, FileContent, Precision, add_files, copy_bundle, default_bundle_path
from ghostclas.engines import installed_engines
from ghostclas.engines.choice import supports_precision
from ghostclas.engines.table import workers_per_core
from ghostclas.errors import BundleError, ImageError, UsageError
from ghostclas.imaging import ImageSource
from ghostclas.prediction.classifier import (
    BATCH_SIZE,
    BATCH_SIZE_IN_BF16,
    Classifier,
)
from ghostclas.processor import usable_cores
from ghostclas.spec import PostprocessSpec, PredictionError


def photo(seed: int, width: int = 90, height: int = 70) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(seed: int, kind: str = "PNG") -> bytes:
    buffer = io.BytesIO()
    Image.fromarray(photo(seed)).save(buffer, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def classifier(small_bundle: Bundle) -> Iterator[Classifier]:
    with Classifier.load(small_bundle, threads=2, batch_size=4) as loaded:
        yield loaded


# ------------------------------------------------------------------ answers


def test_labels_are_the_best_of_the_softmax_of_the_logits(classifier: Classifier) -> None:
    logits = classifier.logits(imaging.preprocess(photo(1), classifier.preprocess)[None])
    scores = imaging.softmax(logits, classifier.postprocess.temperature)[0]
    best = np.argsort(-scores, kind="stable")[:3]
    (prediction,) = classifier.predict(photo(1), top=3)
    assert [label.index for label in prediction.top] == best.tolist()
    assert [label.label for label in prediction.top] == [classifier.classes[i] for i in best]
    np.testing.assert_allclose([label.score for label in prediction.top], scores[best], rtol=1e-6)


def test_every_kind_of_source_gives_the_same_answer(classifier: Classifier, tmp_path: Path) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(2))
    data = path.read_bytes()
    views: Any = [bytearray(data), memoryview(data)]
    sources: list[ImageSource] = [str(path), path, data, *views, Image.open(path), photo(2)]
    answers = [classifier.predict(source) for source in sources]
    assert all(len(answer) == 1 and answer[0].top == answers[0][0].top for answer in answers)
    assert [answer[0].file for answer in answers] == [str(path), str(path), None, None, None, None, None]


def test_a_stack_of_arrays_is_as_many_photos(classifier: Classifier) -> None:
    stack = np.stack([photo(seed) for seed in range(3)])
    tops = [prediction.top for prediction in classifier.predict(stack)]
    assert len({top[0].score for top in tops}) == 3
    for seed, top in enumerate(tops):
        alone = classifier.predict(photo(seed))[0].top
        assert [label.index for label in top] == [label.index for label in alone]
        np.testing.assert_allclose([a.score for a in top], [a.score for a in alone], atol=1e-5)


def test_grey_arrays_are_photos_too(classifier: Classifier) -> None:
    grey = photo(3)[..., 0]
    assert classifier.predict(grey)[0].top == classifier.predict(np.stack([grey] * 3, axis=-1))[0].top


def test_more_labels_than_classes_gives_all_classes(classifier: Classifier) -> None:
    (prediction,) = classifier.predict(photo(1), top=10_000)
    assert sorted(label.index for label in prediction.top) == list(range(len(classifier.classes)))
    assert sum(label.score for label in prediction.top) == pytest.approx(1, abs=1e-5)


def test_no_photos_give_no_predictions(classifier: Classifier) -> None:
    assert classifier.predict([]) == []


@pytest.mark.parametrize("temperature", [0.25, 4.0])
def test_temperature_is_that_of_the_bundle(classifier: Classifier, temperature: float) -> None:
    changed = _with_postprocess(classifier.bundle, PostprocessSpec(temperature=temperature))
    logits = classifier.logits(imaging.preprocess(photo(1), classifier.preprocess)[None])
    (prediction,) = Classifier(changed, classifier.engine).predict(photo(1))
    assert prediction.top[0].score == pytest.approx(imaging.softmax(logits, temperature).max(), rel=1e-6)


def test_a_photo_below_the_threshold_is_unknown_and_keeps_its_labels(classifier: Classifier) -> None:
    best = classifier.predict(photo(1))[0].top[0].score
    for threshold, unknown in ((best, False), (min(1.0, best * 1.01), True)):
        changed = _with_postprocess(classifier.bundle, PostprocessSpec(unknown_below=threshold))
        (prediction,) = Classifier(changed, classifier.engine).predict(photo(1))
        assert prediction.unknown is unknown
        assert len(prediction.top) == min(5, len(classifier.classes))


def _with_postprocess(bundle: Bundle, postprocess: PostprocessSpec) -> Bundle:
    manifest = bundle.manifest.model_copy(update={"postprocess": postprocess})
    return Bundle(bundle.path, bundle._store, manifest)


# ------------------------------------------------------------------ features


def test_embed_gives_what_the_last_layer_turns_into_logits(
    classifier: Classifier, small_bundle: Bundle
) -> None:
    from safetensors.numpy import load

    photos = [photo(seed) for seed in range(9)]
    features = classifier.embed(photos)
    assert features.dtype == np.float32
    weights = load(small_bundle.read("weights.safetensors"))
    assert features.shape == (9, weights["classifier.weight"].shape[1])
    images = np.stack([imaging.preprocess(each, classifier.preprocess) for each in photos])
    logits = features @ weights["classifier.weight"].T + weights["classifier.bias"]
    np.testing.assert_allclose(logits, classifier.logits(images), rtol=0, atol=1e-4)


def test_embed_takes_one_photo_or_none(classifier: Classifier) -> None:
    many = classifier.embed([encoded(1), encoded(2)])
    np.testing.assert_array_equal(classifier.embed(encoded(1)), many[:1])
    assert classifier.embed([]).shape == (0, many.shape[1])


def test_embed_names_the_photo_that_cannot_be_decoded(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "broken.jpg").write_bytes(b"no photo")
    with pytest.raises(ImageError, match=r"broken\.jpg"):
        classifier.embed([encoded(1), tmp_path / "broken.jpg"])
    with pytest.raises(ImageError, match="photo 1: "):
        classifier.embed([encoded(1), b"no photo", encoded(2)])


def test_embed_from_a_bundle_of_former_times_says_how_to_write_one_that_can(tmp_path: Path) -> None:
    bundle = without_features(Bundle.open(default_bundle_path()), tmp_path / "old")
    with Classifier.load(bundle, engine="onnxruntime") as old:
        assert old.predict(photo(1))[0].top
        with pytest.raises(
            BundleError, match=r"no features output; .*ghostclas export --model .* --output NEW"
        ):
            old.embed(photo(1))


def without_features(bundle: Bundle, target: Path) -> Bundle:
    """Copy a bundle as it would have been written before files had that output."""
    onnx = pytest.importorskip("onnx")
    entry = bundle.file("onnx").entry
    graph = onnx.load_model_from_string(bundle.read(entry.path))
    del graph.graph.output[1:]
    content = FileContent(graph.SerializeToString(), "onnx", entry.precision, entry.input, entry.output)
    return add_files(copy_bundle(bundle, target), {entry.path: content})


@pytest.mark.skipif("ncnn" not in installed_engines(), reason="ncnn is not installed")
def test_embed_in_an_engine_that_cannot_names_those_that_can(full_bundle: Bundle) -> None:
    if "ncnn" not in {entry.format for entry in full_bundle.manifest.files}:
        pytest.skip("no toolchain here makes a file for ncnn")
    with (
        Classifier.load(full_bundle, engine="ncnn") as ncnn,
        pytest.raises(
            UsageError, match="ncnn gives no features; load the model in one of: onnxruntime, openvino"
        ),
    ):
        ncnn.embed(photo(1))


# ------------------------------------------------------------------ streams


@pytest.mark.parametrize("count", [1, 2, 4, 5, 23])
def test_order_is_kept_with_errors_in_their_places(
    classifier: Classifier, tmp_path: Path, count: int
) -> None:
    paths = []
    for index in range(count):
        path = tmp_path / f"{index:03}.png"
        path.write_bytes(b"" if index % 3 == 1 else encoded(index))
        paths.append(path)
    predictions = list(classifier.stream(paths))
    assert [prediction.file for prediction in predictions] == [str(path) for path in paths]
    for index, prediction in enumerate(predictions):
        if index % 3 == 1:
            assert prediction.error is not None
            assert prediction.error.code == "empty"
            assert prediction.top == ()
        else:
            assert prediction.error is None
            alone = classifier.predict(paths[index])[0].top
            np.testing.assert_allclose(prediction.top[0].score, alone[0].score, atol=1e-5)


def test_a_batch_of_bad_photos_needs_no_network(classifier: Classifier) -> None:
    predictions = classifier.predict([b""] * 9)
    assert [prediction.error.code for prediction in predictions if prediction.error] == ["empty"] * 9


def test_the_same_photos_give_bitwise_the_same_scores(classifier: Classifier) -> None:
    photos = [encoded(seed) for seed in range(11)]
    assert classifier.predict(photos) == classifier.predict(photos)


def test_an_endless_source_is_read_only_a_few_batches_ahead(classifier: Classifier) -> None:
    taken = itertools.count()
    last = 0

    def endless() -> Iterator[np.ndarray]:
        nonlocal last
        for last in taken:
            yield photo(last % 5)

    stream = classifier.stream(endless())
    for returned in range(1, 50):
        next(stream)
        # Two batches of 4 for each of 2 threads.
        assert last < returned + 2 * 2 * 4
    stream.close()  # type: ignore[attr-defined]


def test_nothing_is_read_before_the_first_answer_is_wanted(classifier: Classifier) -> None:
    def touched() -> Iterator[np.ndarray]:
        raise AssertionError("read too early")
        yield photo(0)

    classifier.stream(touched())


def test_photos_before_a_failing_source_are_answered(classifier: Classifier) -> None:
    def failing() -> Iterator[np.ndarray]:
        for seed in range(6):
            yield photo(seed)
        raise ConnectionError("the camera is gone")

    stream = classifier.stream(failing())
    assert sum(1 for _ in itertools.islice(stream, 6)) == 6
    with pytest.raises(ConnectionError, match="camera"):
        next(stream)


def test_an_abandoned_stream_leaves_no_threads(classifier: Classifier) -> None:
    stream = classifier.stream(photo(seed % 5) for seed in range(10_000))
    next(stream)
    assert any(thread.name.startswith("ghostclas-worker") for thread in threading.enumerate())
    stream.close()  # type: ignore[attr-defined]
    assert not any(thread.name.startswith("ghostclas-worker") for thread in threading.enumerate())


@pytest.mark.parametrize("before", [0, 1, 4, 9])
def test_a_source_that_fails_anywhere_loses_no_photo_before_that(classifier: Classifier, before: int) -> None:
    def failing() -> Iterator[np.ndarray]:
        yield from (photo(seed) for seed in range(before))
        raise ConnectionError("the camera is gone")

    stream = classifier.stream(failing())
    assert sum(1 for _ in itertools.islice(stream, before)) == before
    with pytest.raises(ConnectionError, match="camera"):
        next(stream)


def test_all_workers_run_the_network_side_by_side(classifier: Classifier) -> None:
    # Each of two workers waits inside the engine until the other is there, too.
    both = threading.Barrier(2, timeout=60)

    class Meeting:
        name = "meeting"
        inference_precision: Precision | None = None

        def run(self, images: np.ndarray) -> np.ndarray:
            both.wait()
            return classifier.engine.run(images)

        def close(self) -> None:
            pass

    together = Classifier(classifier.bundle, Meeting(), batch_size=1, workers=2)
    photos = [photo(seed) for seed in range(4)]
    assert together.predict(photos) == Classifier(classifier.bundle, classifier.engine, batch_size=1).predict(
        photos
    )


@pytest.mark.parametrize(
    "engine", [name for name in ("onnxruntime", "openvino") if name in installed_engines()]
)
def test_as_many_photos_are_ahead_as_keep_the_cores_busy(small_bundle: Bundle, engine: str) -> None:
    taken = 0

    def photos() -> Iterator[np.ndarray]:
        nonlocal taken
        for seed in itertools.count():
            taken += 1
            yield photo(seed % 3)

    for threads, workers in ((None, usable_cores() * workers_per_core(engine)), (1, 1)):
        if threads == usable_cores():
            continue
        taken = 0
        with Classifier.load(small_bundle, engine=engine, threads=threads, batch_size=3) as loaded:
            stream = loaded.stream(photos())
            next(stream)
            # Two batches for each worker; who leaves cores free has none beyond the cores asked for.
            assert taken == 2 * 3 * workers
            assert isinstance(stream, Generator)
            stream.close()


def test_batches_have_the_size_that_was_fastest_in_float32(small_bundle: Bundle) -> None:
    with Classifier.load(small_bundle, engine="onnxruntime") as loaded:
        assert loaded.batch_size == BATCH_SIZE


def test_batches_are_larger_where_numbers_are_shorter(small_bundle: Bundle) -> None:
    if "openvino" not in installed_engines() or not supports_precision("openvino", "bf16"):
        pytest.skip("no OpenVINO, or a processor without bf16")
    with Classifier.load(small_bundle, engine="openvino", precision="bf16") as loaded:
        assert loaded.batch_size == BATCH_SIZE_IN_BF16 > BATCH_SIZE


def test_one_photo_starts_no_thread(classifier: Classifier, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(thread: threading.Thread) -> None:
        raise AssertionError(f"started {thread.name}")

    monkeypatch.setattr(threading.Thread, "start", refuse)
    assert classifier.predict(photo(0))[0].error is None


def test_streamed_logits_are_those_of_the_prepared_images(classifier: Classifier) -> None:
    photos = [encoded(seed) for seed in range(6)]
    photos[2] = b""
    rows = list(classifier.stream_logits(photos))
    assert isinstance(rows[2], PredictionError)
    good = [row for row in rows if not isinstance(row, PredictionError)]
    images = np.stack([imaging.preprocess(p, classifier.preprocess) for p in photos if p])
    np.testing.assert_allclose(np.stack(good), classifier.logits(images), atol=1e-4)


# ------------------------------------------------------------------ logits and settings


def test_logits_do_not_depend_on_how_images_are_batched(classifier: Classifier) -> None:
    side = classifier.preprocess.crop
    images = np.random.default_rng(0).integers(0, 256, (10, side, side, 3), dtype=np.uint8)
    together = classifier.logits(images)
    assert together.shape == (10, len(classifier.classes))
    assert together.dtype == np.float32
    np.testing.assert_allclose(
        together, np.concatenate([classifier.logits(i[None]) for i in images]), atol=1e-4
    )


def test_logits_of_no_images_are_no_rows(classifier: Classifier) -> None:
    side = classifier.preprocess.crop
    assert classifier.logits(np.empty((0, side, side, 3), np.uint8)).shape == (0, len(classifier.classes))


@pytest.mark.parametrize("shape", [(64, 64, 3), (1, 3, 64, 64), (1, 65, 64, 3)])
def test_logits_refuse_what_preprocess_does_not_make(classifier: Classifier, shape: tuple[int, ...]) -> None:
    with pytest.raises(UsageError, match=r"takes uint8 \[N, 64, 64, 3\]"):
        classifier.logits(np.zeros(shape, np.uint8))
    with pytest.raises(UsageError, match="float32"):
        classifier.logits(np.zeros((1, 64, 64, 3), np.float32))


def test_settings_that_do_not_fit_are_refused(classifier: Classifier) -> None:
    with pytest.raises(UsageError, match="top must be at least 1, got 0"):
        classifier.stream([], top=0)
    with pytest.raises(UsageError, match="batch_size"):
        Classifier(classifier.bundle, classifier.engine, batch_size=0)
    with pytest.raises(UsageError, match="threads"):
        Classifier.load(classifier.bundle, threads=0)


def test_something_that_is_no_image_at_all_is_the_callers_mistake(classifier: Classifier) -> None:
    with pytest.raises(UsageError, match="not int"):
        classifier.predict(7)  # type: ignore[arg-type]


@pytest.mark.parametrize("mode", ["rb", "r"])
def test_an_open_file_is_refused_before_its_lines_are_taken_for_photos(
    classifier: Classifier, tmp_path: Path, mode: str
) -> None:
    path = tmp_path / "photo.png"
    path.write_bytes(encoded(1))
    with path.open(mode) as file:
        for ask in (classifier.predict, classifier.stream):
            with pytest.raises(UsageError, match=r"not an open file: give file\.read\(\)"):
                ask(file)


def test_a_bundle_is_loaded_from_its_path(small_bundle: Bundle) -> None:
    with Classifier.load(small_bundle.path, engine="onnxruntime") as loaded:
        assert loaded.classes == small_bundle.classes
        assert loaded.engine.name == "onnxruntime"


def test_a_folder_without_a_bundle_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match="neither a bundle nor a run"):
        Classifier.load(tmp_path)


# ------------------------------------------------------------------ names


@pytest.mark.skipif(os.name == "nt", reason="file names are text there")
def test_a_name_that_is_not_utf8_still_fits_into_json(classifier: Classifier, tmp_path: Path) -> None:
    name = os.fsdecode(bytes(tmp_path) + b"/caf\xe9.png")
    Path(name).write_bytes(encoded(1))
    predictions = classifier.predict([name, name + ".missing"])
    assert json.loads(predictions[0].model_dump_json())["file"].endswith("caf\\udce9.png")
    assert predictions[0].error is None
    assert predictions[1].error is not None
    assert predictions[1].error.code == "not_found"


@pytest.mark.parametrize("count", [1, 2, 11])
def test_a_watcher_sees_each_photo_once_as_the_network_does(classifier: Classifier, count: int) -> None:
    seen: dict[int, np.ndarray] = {}

    def watch(position: int, pixels: np.ndarray) -> None:
        assert position not in seen
        seen[position] = pixels.copy()

    sources: list[ImageSource] = [photo(seed) for seed in range(count)]
    sources.insert(1, b"no photo")
    predictions = list(classifier.stream(sources, watch=watch))
    assert predictions == classifier.predict(sources)
    assert sorted(seen) == [place for place in range(count + 1) if place != 1]
    for place, pixels in seen.items():
        np.testing.assert_array_equal(pixels, imaging.preprocess(sources[place], classifier.preprocess))


# ------------------------------------------------------------------ memory

_PEAK = """
import sys
from itertools import islice, repeat
from ghostclas.bench.fresh import peak_memory
from ghostclas.prediction import Classifier
with Classifier.load(sys.argv[1], engine="onnxruntime", threads=2) as classifier:
    peaks = []
    stream = classifier.stream(repeat(sys.argv[2]))
    for count in (200, 3000):
        for prediction in islice(stream, count):
            assert prediction.error is None
        peaks.append(peak_memory() / 2**20)
print(peaks[1] - peaks[0])
"""


@pytest.mark.skipif(sys.platform != "linux", reason="memory is counted in other units there")
def test_memory_does_not_grow_with_the_number_of_photos(small_bundle: Bundle, tmp_path: Path) -> None:
    path = tmp_path / "photo.jpg"
    path.write_bytes(encoded(1, "JPEG"))
    done = subprocess.run(
        [sys.executable, "-c", _PEAK, str(small_bundle.path), str(path)],
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(done.stdout) < 20


def test_a_folder_is_all_of_its_photos(classifier: Classifier, tmp_path: Path) -> None:
    (tmp_path / "sub [1]").mkdir()
    for seed, name in enumerate(("b.png", "a.png", "sub [1]/c.png")):
        (tmp_path / name).write_bytes(encoded(seed))
    (tmp_path / "notes.txt").write_text("no photo", encoding="utf-8")
    expected = [str(tmp_path / name) for name in ("a.png", "b.png", "sub [1]/c.png")]
    assert [one.file for one in classifier.predict(tmp_path)] == expected
    assert [one.file for one in classifier.predict(f"{tmp_path}/")] == expected
    assert len(classifier.embed(tmp_path)) == 3
    # A call is one prediction or a list of them by its type; a folder would be either.
    with pytest.raises(UsageError, match=r"is a folder(.|\n)*classifier\.predict\("):
        classifier(tmp_path)
