"""``verify`` finds what is wrong with a bundle's answers, and nothing where nothing is."""

from __future__ import annotations

import io
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import numpy_helper
from PIL import Image

from ghostclas import imaging
from ghostclas.bundle import (
    REFERENCE,
    Bundle,
    FileContent,
    FileParity,
    Precision,
    Reference,
    add_files,
    pack,
)
from ghostclas.data.source import Sample
from ghostclas.engines import ENGINES, installed_engines
from ghostclas.engines.choice import supports_precision
from ghostclas.errors import BundleError, ExportError
from ghostclas.verification import (
    LARGE_LOGIT,
    PARITY,
    PIXEL_TOLERANCE,
    TOLERANCE,
    VerifyReport,
    logit_differences,
    record,
    verify,
)

ORT = ("onnxruntime",)


class Photos:
    """A source of random photos, of which some are no images."""

    location = "memory"
    classes: Sequence[str] = ("a",)

    def __init__(self, count: int, bad: Sequence[int] = ()) -> None:
        self.samples = [Sample(f"{index}.png", 0) for index in range(count)]
        self.bad = bad

    def read(self, index: int) -> bytes:
        if index in self.bad:
            return b"no image"
        pixels = np.random.default_rng(index).integers(0, 256, (70, 90, 3), dtype=np.uint8)
        stream = io.BytesIO()
        Image.fromarray(pixels).save(stream, "PNG")
        return stream.getvalue()


def shifted(bundle: Bundle, by: float) -> bytes:
    """Return the bundle's model with ``by`` added to one logit."""
    proto = onnx.load_model_from_string(bundle.read("model.onnx"))
    (last,) = (node for node in proto.graph.node if "logits" in node.output)
    last.output[:] = ["before"]
    shift = np.zeros(len(bundle.classes), np.float32)
    shift[0] = by
    proto.graph.initializer.append(numpy_helper.from_array(shift, "shift"))
    proto.graph.node.append(onnx.helper.make_node("Add", ["before", "shift"], ["logits"]))
    return proto.SerializeToString()


def with_model(
    bundle: Bundle, content: bytes, *, path: str = "model.onnx", precision: Any = "fp32"
) -> Bundle:
    entry = bundle.file("onnx").entry
    file = FileContent(content, "onnx", precision, entry.input, entry.output, entry.features)
    return add_files(bundle, {path: file})


def with_reference(bundle: Bundle, reference: Reference) -> Bundle:
    return add_files(bundle, {REFERENCE: FileContent(reference.to_bytes(), "reference")})


def test_a_good_bundle_passes_in_every_installed_engine(small_bundle: Bundle) -> None:
    report = verify(small_bundle)
    assert report.ok
    assert report.max_pixel_difference == 0
    readers = [name for name in installed_engines() if "onnx" in ENGINES[name].formats]
    own = [result for result in report.files if result.arithmetic is None]
    assert [result.engine for result in own] == readers
    for result in own:
        assert result.file == "model.onnx"
        assert result.images == len(small_bundle.reference().jpegs)
        assert 0 <= result.mean_abs <= result.max_abs <= result.tolerance == 1e-3
        assert result.decoded_max_abs is not None
        assert result.decoded_max_abs <= 1e-3
        assert result.top1_agreement == 1
    assert report.photos == ()
    assert report.skipped == ()


def bf16(report: VerifyReport) -> FileParity:
    own = next(result for result in report.files if result.arithmetic is None)
    return own.model_copy(update={"arithmetic": "bf16", "ok": False, "max_abs": 9.0})


def test_another_arithmetic_that_is_wrong_is_no_fault_of_the_bundle(tiny_bundle: Bundle) -> None:
    report = verify(tiny_bundle, engines=ORT)
    report = report.model_copy(update={"files": (*report.files, bf16(report))})
    assert report.ok
    report.require_ok()
    recorded = record(tiny_bundle, report).manifest.parity
    found = {(r.arithmetic, r.ok) for r in recorded if r.engine == "onnxruntime"}
    assert found == {(None, True), ("bf16", False)}


def test_what_is_wrong_on_photos_is_not_recorded_as_right(tiny_bundle: Bundle) -> None:
    report = verify(tiny_bundle, engines=ORT)
    right = bf16(report).model_copy(update={"ok": True})
    report = report.model_copy(update={"files": (*report.files, right), "photos": (bf16(report),)})
    recorded = record(tiny_bundle, report).manifest.parity
    found = {(r.arithmetic, r.ok) for r in recorded if r.engine == "onnxruntime"}
    assert found == {(None, True), ("bf16", False)}


@pytest.mark.skipif("openvino" not in installed_engines(), reason="OpenVINO is not installed")
def test_every_arithmetic_of_an_engine_is_compared_by_its_own_tolerance(small_bundle: Bundle) -> None:
    report = verify(small_bundle, engines=("openvino",))
    wanted: list[Precision | None] = [None]
    if supports_precision("openvino", "bf16"):
        wanted.append("bf16")
    assert [result.arithmetic for result in report.files] == wanted
    assert [result.tolerance for result in report.files] == [TOLERANCE[a or "fp32"].max_abs for a in wanted]


def test_an_archive_passes_like_its_folder(small_bundle: Bundle, tmp_path: Path) -> None:
    packed = Bundle.open(pack(small_bundle, tmp_path / "small.zip"))
    assert verify(packed, engines=ORT).files == verify(small_bundle, engines=ORT).files


@pytest.mark.parametrize("by", [2e-3, 0.5, float("nan")])
def test_logits_out_of_tolerance_are_an_error_that_names_file_and_engine(
    tiny_bundle: Bundle, by: float
) -> None:
    wrong = with_model(tiny_bundle, shifted(tiny_bundle, by))
    with pytest.raises(ExportError, match=r"model\.onnx in onnxruntime: logits differ by up to") as caught:
        verify(wrong, engines=ORT)
    assert caught.value.exit_code == 7
    assert str(wrong.path) in str(caught.value)
    report = verify(wrong, engines=ORT, strict=False)
    assert not report.ok
    assert not report.files[0].ok
    if np.isfinite(by):
        assert report.files[0].max_abs == pytest.approx(by, rel=0.1)
    else:
        assert report.files[0].max_abs == np.finfo(np.float32).max


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_a_reference_that_is_no_number_is_met_by_nothing(tiny_bundle: Bundle, value: float) -> None:
    reference = tiny_bundle.reference()
    logits = reference.logits.copy()
    logits[0, 0] = value
    broken = with_reference(tiny_bundle, Reference(reference.jpegs, reference.pixels, logits))
    report = verify(broken, engines=ORT, strict=False)
    assert report.files[0].max_abs == np.finfo(np.float32).max
    assert not report.ok


def test_large_logits_are_judged_in_proportion() -> None:
    wanted = np.array([[1600.0, 0.0], [-800.0, 1.0]], np.float32)
    differences = logit_differences(wanted + np.float32(0.5), wanted)
    np.testing.assert_allclose(differences, 0.5 / (1600 / LARGE_LOGIT))
    small = np.array([[LARGE_LOGIT, 0.0]], np.float32)
    np.testing.assert_allclose(logit_differences(small + np.float32(0.5), small), 0.5)


def test_a_difference_within_tolerance_passes(tiny_bundle: Bundle) -> None:
    assert verify(with_model(tiny_bundle, shifted(tiny_bundle, 5e-4)), engines=ORT).ok


def test_another_best_class_is_an_error_however_close_the_logits(tiny_bundle: Bundle) -> None:
    reference = tiny_bundle.reference()
    logits = reference.logits.copy()
    # A tie that the file decides in one way and the reference in the other.
    best, second = np.argsort(-logits[0])[:2]
    logits[0, second] = logits[0, best] + 1e-4
    tied = with_reference(tiny_bundle, Reference(reference.jpegs, reference.pixels, logits))
    proto = shifted(tied, 0)
    report = verify(with_model(tied, proto), engines=ORT, strict=False)
    assert report.files[0].top1_agreement == 1 - 1 / len(logits)
    assert not report.files[0].ok


def test_a_file_is_judged_by_its_own_precision(tiny_bundle: Bundle) -> None:
    by = 10 * TOLERANCE["fp32"].max_abs
    both = with_model(tiny_bundle, shifted(tiny_bundle, by), path="model.fp16.onnx", precision="fp16")
    report = verify(both, engines=ORT)
    assert [(result.file, result.ok, result.tolerance) for result in report.files] == [
        ("model.onnx", True, TOLERANCE["fp32"].max_abs),
        ("model.fp16.onnx", True, TOLERANCE["fp16"].max_abs),
    ]
    assert report.files[1].max_abs == pytest.approx(by, rel=0.1)


@pytest.mark.parametrize(("levels", "ok"), [(PIXEL_TOLERANCE, True), (PIXEL_TOLERANCE + 1, False)])
def test_pixels_that_this_machine_decodes_otherwise_are_found(
    tiny_bundle: Bundle, levels: int, ok: bool
) -> None:
    reference = tiny_bundle.reference()
    pixels = reference.pixels.copy()
    middle = int(np.argmin(np.abs(pixels[0].astype(int) - 128)))
    pixels[0].reshape(-1)[middle] += levels
    # The logits stay those of the stored pixels: only decoding differs.
    changed = with_reference(tiny_bundle, Reference(reference.jpegs, pixels, reference.logits))
    report = verify(changed, engines=(), strict=False)
    assert report.max_pixel_difference == levels
    assert report.ok == ok
    if not ok:
        with pytest.raises(ExportError, match="preprocessing gives other pixels here, by up to 3 of 256"):
            report.require_ok()


def test_one_changed_byte_of_any_file_is_found(tiny_bundle: Bundle) -> None:
    for entry in tiny_bundle.manifest.files:
        path = tiny_bundle.path / entry.path
        good = path.read_bytes()
        path.write_bytes(good[:-1] + bytes([good[-1] ^ 1]))
        with pytest.raises(BundleError, match=f"{entry.path} is not the file that was exported"):
            verify(Bundle.open(tiny_bundle.path), engines=ORT)
        path.write_bytes(good)
    assert verify(Bundle.open(tiny_bundle.path), engines=ORT).ok


def test_files_that_nothing_here_reads_are_named(tiny_bundle: Bundle) -> None:
    entry = tiny_bundle.file("onnx").entry
    more = {
        "model.tflite": FileContent(b"x", "tflite", "fp32", entry.input, entry.output),
        "openvino/model.xml": FileContent(b"x", "openvino", "fp32", entry.input, entry.output),
    }
    report = verify(add_files(tiny_bundle, more), engines=ORT)
    assert report.skipped == (
        "model.tflite: needs a runtime outside this package",
        "openvino/model.xml: needs openvino",
    )


# ------------------------------------------------------------------ with photos


def test_files_are_compared_on_the_callers_photos(tiny_bundle: Bundle) -> None:
    by = 0.01
    both = with_model(tiny_bundle, shifted(tiny_bundle, by), path="model.fp16.onnx", precision="fp16")
    report = verify(both, data=Photos(19, bad=(3, 18)), engines=ORT)
    assert report.bad_photos == 2
    (result,) = report.photos
    assert (result.file, result.engine, result.images) == ("model.fp16.onnx", "onnxruntime", 17)
    assert result.max_abs == pytest.approx(by, rel=0.05)
    assert result.mean_abs == pytest.approx(by / len(both.classes), rel=0.05)
    assert result.ok


def test_engines_that_disagree_on_photos_are_an_error(tiny_bundle: Bundle) -> None:
    both = with_model(tiny_bundle, shifted(tiny_bundle, 0.0), path="model.fp16.onnx", precision="fp16")
    report = verify(both, data=Photos(3), engines=ORT)
    assert report.photos[0].max_abs == 0
    far = report.photos[0].model_copy(update={"ok": False, "max_abs": 1.0})
    with pytest.raises(ExportError, match=r"model\.fp16\.onnx in onnxruntime: .* of 3 photos"):
        report.model_copy(update={"photos": (far,)}).require_ok()


def test_one_file_in_one_engine_has_nothing_to_be_compared_with(small_bundle: Bundle) -> None:
    assert verify(small_bundle, data=Photos(2), engines=ORT).photos == ()


def test_photos_that_are_all_unreadable_prove_nothing(tiny_bundle: Bundle) -> None:
    both = with_model(tiny_bundle, shifted(tiny_bundle, 0.0), path="model.fp16.onnx", precision="fp16")
    report = verify(both, data=Photos(2, bad=(0, 1)), engines=ORT, strict=False)
    assert report.bad_photos == 2
    assert not report.ok


# ------------------------------------------------------------------ company


def test_it_needs_no_torch(small_bundle: Bundle) -> None:
    code = (
        "import sys; from ghostclas.bundle import Bundle; from ghostclas.verification import verify; "
        f"print(verify(Bundle.open({str(small_bundle.path)!r})).ok, "
        "[name for name in ('torch', 'onnx') if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["True", "[]"]


def test_the_reference_covers_every_path_through_preprocessing(small_bundle: Bundle) -> None:
    spec = small_bundle.preprocess
    images = [Image.open(io.BytesIO(jpeg)) for jpeg in small_bundle.reference().jpegs]
    assert {image.mode for image in images} == {"RGB", "L"}
    assert {image.getexif().get(0x0112, 1) for image in images} == {1, 6}
    shorts = [min(image.size) for image in images]
    assert min(shorts) < spec.crop < max(shorts)
    turned = imaging.decode(small_bundle.reference().jpegs[1])
    assert turned.size == images[1].size[::-1]


def test_what_was_found_is_recorded_beside_what_was_known(tiny_bundle: Bundle) -> None:
    good = record(tiny_bundle, verify(tiny_bundle))
    assert {(r.file, r.engine) for r in good.manifest.parity} >= {
        ("model.onnx", "onnxruntime"),
        ("model.onnx", "openvino"),
    }
    bad = with_model(good, shifted(good, 0.5))
    record(bad, verify(bad, engines=ORT, strict=False))
    recorded = Bundle.open(bad.path)
    assert {r.engine: r.ok for r in recorded.manifest.parity if r.file == "model.onnx"}[
        "onnxruntime"
    ] is False
    report = VerifyReport.model_validate_json((bad.path / PARITY).read_bytes())
    assert [(r.file, r.ok) for r in report.files] == [("model.onnx", False)]
    assert report.bundle == bad.path.name
    assert str(bad.path.parent) not in (bad.path / PARITY).read_text()
