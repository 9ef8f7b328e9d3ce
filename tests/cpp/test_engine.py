"""libghostclas beside Python in one process: the same pixels, the same logits, the same answers."""

from __future__ import annotations

import re
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

from ghostclas.bundle import (
    Bundle,
    default_bundle_path,
    update_manifest,
)
from ghostclas.engines import installed_engines, open_engine
from ghostclas.imaging import preprocess
from ghostclas.prediction import Classifier
from ghostclas.spec import PostprocessSpec, Prediction
from ghostclas.terminal import printable_json
from tests.cpp.native import NativeClassifier, NativeError, assert_same_line, runtime_folder
from tests.engines.linear import SIDE, bundle_of, linear_model
from tests.images import bad_images, encode, photo
from tests.real_data import CLOTHING, needs_clothing

_EVERY = 20
_PHOTOS = 341
_BATCH = 32


@pytest.fixture(scope="module")
def photos(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """Photographs of the data set for clothing where it is here, those of the demo, and made ones."""
    folder = tmp_path_factory.mktemp("photos")
    found = sorted((CLOTHING / "val").glob("*/*.jpg"))[::_EVERY]
    skimage = pytest.importorskip("skimage", reason="the extra 'demo' is not installed")
    data = Path(skimage.__file__).parent / "data"
    found += [data / name for name in ("chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")]
    for seed, kind in enumerate(("JPEG", "PNG", "WebP", "GIF", "BMP")):
        path = folder / f"{seed}.{kind.lower()}"
        path.write_bytes(encode(photo(300 + seed, 200, seed), kind))
        found.append(path)
    return found


@pytest.fixture(scope="module")
def pixels(photos: list[Path]) -> NDArray[np.uint8]:
    spec = Bundle.open(default_bundle_path()).preprocess
    return np.stack([preprocess(path, spec) for path in photos])


@pytest.fixture(scope="module")
def native() -> Iterator[NativeClassifier]:
    classifier = NativeClassifier(default_bundle_path())
    yield classifier
    classifier.close()


def lines_of(classifier: Classifier, sources: list[Path]) -> list[str]:
    return [
        printable_json(prediction.model_dump_json()) for prediction in classifier.predict(map(str, sources))
    ]


def test_pixels_are_bit_equal(
    native: NativeClassifier, photos: list[Path], pixels: NDArray[np.uint8]
) -> None:
    for path, expected in zip(photos, pixels, strict=True):
        np.testing.assert_array_equal(native.preprocess(path.read_bytes()), expected, err_msg=str(path))


@pytest.fixture(scope="module")
def clothing() -> list[Path]:
    """Every photograph of the data set for clothing; none where it is not here."""
    return sorted((CLOTHING / "val").glob("*/*.jpg"))


@pytest.fixture(scope="module")
def clothing_pixels(clothing: list[Path]) -> NDArray[np.uint8]:
    spec = Bundle.open(default_bundle_path()).preprocess
    pixels = [preprocess(path, spec) for path in clothing]
    return np.array(pixels, np.uint8).reshape(-1, spec.crop, spec.crop, 3)


@needs_clothing
def test_every_photograph_has_equal_pixels_logits_and_labels(
    native: NativeClassifier, clothing: list[Path], clothing_pixels: NDArray[np.uint8]
) -> None:
    assert len(clothing) == _PHOTOS
    for path, expected in zip(clothing, clothing_pixels, strict=True):
        np.testing.assert_array_equal(native.preprocess(path.read_bytes()), expected, err_msg=str(path))
    classifier = Classifier.load(engine="onnxruntime")
    for at in range(0, _PHOTOS, _BATCH):
        batch = clothing_pixels[at : at + _BATCH]
        np.testing.assert_array_equal(native.logits(batch), classifier.engine.run(batch))
    for line, right in zip(native.lines(clothing), lines_of(classifier, clothing), strict=True):
        assert_same_line(line, right)


@pytest.mark.parametrize("threads", [1, 2, None])
def test_logits_are_bit_equal_in_batches_and_threads(threads: int | None, pixels: NDArray[np.uint8]) -> None:
    classifier = Classifier.load(engine="onnxruntime", threads=threads)
    native = NativeClassifier(default_bundle_path(), threads=threads or 0)
    for size in (1, 3, 4, len(pixels)):
        np.testing.assert_array_equal(native.logits(pixels[:size]), classifier.engine.run(pixels[:size]))
    assert native.logits(pixels[:0]).shape == (0, len(classifier.classes))
    native.close()


def test_answers_are_those_of_python(native: NativeClassifier, photos: list[Path]) -> None:
    classifier = Classifier.load(engine="onnxruntime")
    for line, expected in zip(native.lines(photos), lines_of(classifier, photos), strict=True):
        assert_same_line(line, expected)
    assert native.classes == list(classifier.classes)


def test_images_in_memory_have_the_answers_of_files(native: NativeClassifier, photos: list[Path]) -> None:
    classifier = Classifier.load(engine="onnxruntime")
    array = np.asarray(Image.open(photos[0]).convert("RGB"))
    sources: list[bytes | NDArray[np.uint8]] = [
        photos[0].read_bytes(),
        array,
        np.ascontiguousarray(array[:1, :1]),
        b"",
        b"no image",
    ]
    expected = [printable_json(prediction.model_dump_json()) for prediction in classifier.predict(sources)]
    for line, right in zip(native.image_lines(sources), expected, strict=True):
        assert_same_line(line, right)
    assert_same_line(native.image_lines(sources[:1])[0], expected[0])


def test_bad_photos_are_answers_in_their_places(
    native: NativeClassifier, tmp_path: Path, photos: list[Path]
) -> None:
    sources = [photos[0], tmp_path / "absent.jpg", tmp_path, Path("/dev/null"), Path("http://a.b/c.jpg")]
    for name, image in bad_images().items():
        (tmp_path / name).write_bytes(image.data)
        if image.code in ("empty", "not_an_image", "not_found"):
            sources.append(tmp_path / name)
    sources.append(photos[-1])
    expected = lines_of(Classifier.load(engine="onnxruntime"), sources)
    for line, right in zip(native.lines([str(path) for path in sources]), expected, strict=True):
        assert_same_line(line, right)


def test_several_threads_may_use_one_classifier(native: NativeClassifier, pixels: NDArray[np.uint8]) -> None:
    expected = native.logits(pixels)
    failures: list[str] = []

    def compare() -> None:
        for _ in range(3):
            if not np.array_equal(native.logits(pixels), expected):
                failures.append("other logits")

    threads = [threading.Thread(target=compare) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_bundle_with_an_unknown_threshold_and_a_temperature(tmp_path: Path) -> None:
    bundle = Bundle.open(shutil.copytree(default_bundle_path(), tmp_path / "b"))
    update_manifest(bundle, postprocess=PostprocessSpec(temperature=3.5, unknown_below=0.9))
    images = [encode(photo(80, 60, seed)) for seed in range(3)]
    native = NativeClassifier(bundle.path)
    expected = Classifier.load(bundle.path, engine="onnxruntime").predict(images, top=1000)
    assert any(prediction.unknown for prediction in expected)
    for line, right in zip(native.image_lines(images, top=1000), expected, strict=True):
        assert_same_line(line, printable_json(right.model_dump_json()))
    native.close()


def same_line_of_a_white_photo(bundle: Bundle) -> str:
    """Return the line with all classes, which is that of Python."""
    image = np.full((SIDE, SIDE, 3), 255, np.uint8)
    top = len(bundle.manifest.classes)
    native = NativeClassifier(bundle.path)
    (line,) = native.image_lines([image], top=top)
    native.close()
    (right,) = Classifier.load(bundle.path, engine="onnxruntime").predict([image], top=top)
    assert_same_line(line, printable_json(right.model_dump_json()))
    return line


def test_every_number_is_written_as_python_writes_it(tmp_path: Path) -> None:
    """Scores from 0.03 down to the least float32; `assert_same_line` has Python write the line again."""
    classes = tuple(f"class {index}" for index in range(4000))
    # The mean of a white photo is 255 in each of three channels.
    logits = np.random.default_rng(0).permutation(np.linspace(0, -101, len(classes)))
    weights = np.broadcast_to(logits / (3 * 255), (3, len(classes))).astype(np.float32)
    model = linear_model(weights=weights)
    bundle = bundle_of(model.SerializeToString(), tmp_path / "b", classes=classes)
    line = same_line_of_a_white_photo(bundle)
    scores = {label.score for label in Prediction.model_validate_json(line).top}
    assert len(scores) > 3800
    assert max(scores) > 0.02
    assert min(scores - {0.0}) < 1e-44


def test_every_character_of_a_name_is_written_as_python_writes_it(tmp_path: Path) -> None:
    """All of the first 65,536, and some of those beyond."""
    places = [*range(1, 0xD800), *range(0xE000, 0x10000), *range(0x10000, 0x110000, 101)]
    classes = tuple("".join(map(chr, places[at : at + 300])) for at in range(0, len(places), 300))
    weights = np.random.default_rng(0).normal(scale=0.01, size=(3, len(classes))).astype(np.float32)
    bundle = bundle_of(linear_model(weights=weights).SerializeToString(), tmp_path / "b", classes=classes)
    same_line_of_a_white_photo(bundle)


@pytest.mark.skipif("openvino" not in installed_engines(), reason="OpenVINO is not installed")
def test_openvino_gives_the_logits_of_python(
    pixels: NDArray[np.uint8], clothing_pixels: NDArray[np.uint8]
) -> None:
    native = NativeClassifier(
        default_bundle_path(), engine="openvino", runtime=str(runtime_folder("openvino"))
    )
    engine = open_engine("openvino", Bundle.open(default_bundle_path()))
    images = np.concatenate((pixels, clothing_pixels))
    for at in range(0, len(images), _BATCH):
        batch = images[at : at + _BATCH]
        np.testing.assert_allclose(native.logits(batch), engine.run(batch), rtol=0, atol=1e-4)
    native.close()


# ------------------------------------------------------------------ runtimes that are not there


def refusal_of(runtime: Path) -> NativeError:
    with pytest.raises(NativeError) as caught:
        NativeClassifier(default_bundle_path(), runtime=str(runtime))
    assert caught.value.status == 5
    assert "get it with: cpp/get-runtime FOLDER" in str(caught.value)
    return caught.value


def test_a_runtime_that_is_not_there_is_told(tmp_path: Path) -> None:
    assert str(refusal_of(tmp_path)).startswith(f"there is no libonnxruntime.so* in {tmp_path}; ")
    absent = tmp_path / "libonnxruntime.so"
    assert str(refusal_of(absent)).startswith(f"ONNX Runtime was not found: there is no {absent}; ")


def test_a_runtime_that_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "libonnxruntime.so.9").write_bytes(b"no library")
    assert "ONNX Runtime cannot be used: " in str(refusal_of(tmp_path))


def test_a_runtime_that_is_too_old_is_told(tmp_path: Path) -> None:
    library = tmp_path / "libonnxruntime.so"
    code = """
        typedef struct { const void* (*get_api)(unsigned); const char* (*get_version)(void); } Base;
        static const void* get_api(unsigned version) { return version > 11 ? 0 : "a table"; }
        static const char* get_version(void) { return "1.11.1"; }
        static const Base base = {get_api, get_version};
        const Base* OrtGetApiBase(void) { return &base; }
    """
    command = ["cc", "-x", "c", "-shared", "-fPIC", "-o", str(library), "-"]
    subprocess.run(command, input=code, text=True, check=True)
    assert f"ONNX Runtime 1.11.1 in {library} is too old: version 1.17 or newer is needed" in str(
        refusal_of(library)
    )


def test_the_entries_are_at_their_places_in_the_header() -> None:
    header = Path("/usr/include/onnxruntime/onnxruntime_c_api.h")
    if not header.is_file():
        pytest.skip("Debian's libonnxruntime-dev is not installed")
    table = header.read_text(encoding="utf-8").partition("struct OrtApi {")[2]
    names = re.findall(r"ORT_API2_STATUS\((\w+)|ORT_CLASS_RELEASE\((\w+)|ORT_API_CALL\s*\*\s*(\w+)\)", table)
    order = [status or (f"Release{released}" if released else other) for status, released, other in names]
    ours = Path(__file__).parents[2] / "cpp/src/ort_abi.hpp"
    declared = re.findall(r"X\((\d+), (\w+),", ours.read_text(encoding="utf-8"))
    assert len(declared) > 30
    for place, name in declared:
        assert order[int(place)] == name
