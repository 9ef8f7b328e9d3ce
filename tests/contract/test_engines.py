"""The contract of ``ghostclas.engines.contract.Engine``: one suite, and every installed runtime passes it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from safetensors.numpy import load

from ghostclas.bundle import Bundle, BundleFile, FileContent, add_files, copy_bundle, pack
from ghostclas.cache import cache_directory
from ghostclas.engines import ENGINES, Engine, installed_engines, open_engine
from ghostclas.engines.choice import load_file, supports_precision
from ghostclas.engines.contract import FeatureEngine
from ghostclas.engines.openvino import bf16_is_faster
from ghostclas.engines.table import workers_per_core
from ghostclas.errors import BundleError, UsageError
from ghostclas.processor import parse_cpuinfo
from ghostclas.verification import TOLERANCE
from tests.engines.linear import ISOLATED, SIDE, bundle_of, linear_model, needs_openvino

ONNX_READERS = [name for name in installed_engines() if "onnx" in ENGINES[name].formats]


_ADD_ISOLATED = """
import torch
from ghostclas.engines.table import ENGINES
ENGINES["isolated"] = ENGINES["onnxruntime"]._replace(isolated=True, features=False)
"""


def run_code(name: str, code: str) -> str:
    """Run Python code in a process of its own, whose table has ``name``, and return what it prints."""
    code = (_ADD_ISOLATED if name == ISOLATED else "") + code
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout


def photos(bundle: Bundle, count: int, seed: int = 0) -> np.ndarray:
    side = bundle.preprocess.crop
    return np.random.default_rng(seed).integers(0, 256, (count, side, side, 3), dtype=np.uint8)


@pytest.mark.parametrize("threads", [1, 2, None])
def test_logits_equal_the_reference(name: str, full_bundle: Bundle, threads: int | None) -> None:
    reference = full_bundle.reference()
    engine = open_engine(name, full_bundle, threads=threads)
    logits = engine.run(reference.pixels)
    engine.close()
    np.testing.assert_allclose(logits, reference.logits, rtol=0, atol=1e-3)
    np.testing.assert_array_equal(logits.argmax(axis=1), reference.logits.argmax(axis=1))


@pytest.mark.parametrize("count", [0, 1, 7, 64])
def test_a_batch_of_any_size_gives_one_row_each(engine: Engine, full_bundle: Bundle, count: int) -> None:
    images = photos(full_bundle, count)
    logits = engine.run(images)
    assert logits.dtype == np.float32
    assert logits.shape == (count, len(full_bundle.classes))
    for index in {0, count // 2, count - 1} if count else ():
        np.testing.assert_allclose(logits[index], engine.run(images[index : index + 1])[0], rtol=0, atol=1e-4)


def test_the_same_images_give_the_same_logits(engine: Engine, full_bundle: Bundle) -> None:
    images = photos(full_bundle, 3)
    first = engine.run(images)
    engine.run(photos(full_bundle, 5, seed=1))
    np.testing.assert_array_equal(engine.run(images), first)


def test_logits_are_the_callers_to_keep(engine: Engine, full_bundle: Bundle) -> None:
    images = photos(full_bundle, 2)
    kept = engine.run(images)
    copy = kept.copy()
    engine.run(photos(full_bundle, 2, seed=1))
    np.testing.assert_array_equal(kept, copy)
    kept[:] = 0
    np.testing.assert_array_equal(engine.run(images), copy)


@pytest.mark.parametrize(
    "strided",
    [
        lambda images: np.repeat(images, 2, axis=0)[::2],
        lambda images: images[:, :, ::-1].copy()[:, :, ::-1],
        lambda images: np.ascontiguousarray(images.transpose(0, 3, 1, 2)).transpose(0, 2, 3, 1),
        np.asfortranarray,
    ],
    ids=["every second", "mirrored", "from NCHW", "Fortran"],
)
def test_images_need_not_be_contiguous(
    engine: Engine, full_bundle: Bundle, strided: Callable[[np.ndarray], np.ndarray]
) -> None:
    images = photos(full_bundle, 3)
    view = strided(images)
    assert not view.flags.c_contiguous
    np.testing.assert_array_equal(engine.run(view), engine.run(images))


def test_images_are_not_changed_and_may_be_read_only(engine: Engine, full_bundle: Bundle) -> None:
    images = photos(full_bundle, 2)
    images.flags.writeable = False
    before = images.copy()
    engine.run(images)
    np.testing.assert_array_equal(images, before)


@pytest.mark.parametrize("count", [0, 1, 7])
def test_an_engine_with_features_gives_what_the_last_layer_takes(
    name: str, engine: Engine, full_bundle: Bundle, count: int
) -> None:
    if not ENGINES[name].features:
        assert not hasattr(engine, "embed")
        return
    images = photos(full_bundle, count)
    features = cast(FeatureEngine, engine).embed(images)
    weights = load(full_bundle.read("weights.safetensors"))
    assert features.dtype == np.float32
    assert features.shape == (count, weights["classifier.weight"].shape[1])
    logits = features @ weights["classifier.weight"].T + weights["classifier.bias"]
    np.testing.assert_allclose(logits, engine.run(images), rtol=0, atol=1e-3)


def test_features_do_not_change_what_a_model_answers(name: str, full_bundle: Bundle) -> None:
    if not ENGINES[name].features or "onnx" not in ENGINES[name].formats:
        pytest.skip("it takes no ONNX file with features")
    file = full_bundle.file("onnx")
    graph = onnx.load_model_from_string(file.read())
    assert [output.name for output in graph.graph.output] == ["logits", "features"]
    del graph.graph.output[1:]
    with tempfile.TemporaryDirectory() as folder:
        plain = copy_bundle(full_bundle, Path(folder) / "plain")
        content = FileContent(graph.SerializeToString(), "onnx", "fp32", file.entry.input, file.entry.output)
        plain = add_files(plain, {file.entry.path: content})
        images = photos(full_bundle, 5)
        first, second = (
            load_file(name, bundle.file("onnx"), threads=1).run(images) for bundle in (full_bundle, plain)
        )
    np.testing.assert_array_equal(first, second)


@pytest.mark.parametrize("name", ONNX_READERS)
def test_a_second_output_that_the_manifest_does_not_know_is_refused(name: str, tmp_path: Path) -> None:
    model = linear_model()
    model.graph.output.append(helper.make_tensor_value_info("mean", TensorProto.FLOAT, ["N", 3]))
    with pytest.raises(BundleError, match=r"mean float32 .* where the manifest says logits"):
        open_engine(name, bundle_of(model.SerializeToString(), tmp_path / "b"))


@pytest.mark.parametrize(
    ("images", "found"),
    [
        (np.zeros((1, 64, 64, 3), np.float32), r"float32 \[1, 64, 64, 3\]"),
        (np.zeros((64, 64, 3), np.uint8), r"uint8 \[64, 64, 3\]"),
        (np.zeros((1, 3, 64, 64), np.uint8), r"uint8 \[1, 3, 64, 64\]"),
        (np.zeros((1, 65, 64, 3), np.uint8), r"uint8 \[1, 65, 64, 3\]"),
        (np.zeros((1, 64, 64, 4), np.uint8), r"uint8 \[1, 64, 64, 4\]"),
        (np.zeros((0, 32, 32, 3), np.uint8), r"uint8 \[0, 32, 32, 3\]"),
        ([[1, 2], [3, 4]], "list"),
    ],
)
def test_images_of_another_shape_or_type_are_refused(engine: Engine, images: Any, found: str) -> None:
    with pytest.raises(UsageError, match=rf"takes uint8 \[N, 64, 64, 3\], got {found}"):
        engine.run(images)


def test_closing_twice_does_nothing_and_running_after_it_is_told(name: str, full_bundle: Bundle) -> None:
    engine = open_engine(name, full_bundle)
    engine.run(photos(full_bundle, 1))
    engine.close()
    engine.close()
    for count in (0, 1):
        with pytest.raises(UsageError, match=f"this {name} engine is closed"):
            engine.run(photos(full_bundle, count))


@pytest.mark.parametrize("threads", [0, -1])
def test_a_number_of_threads_that_is_none_is_refused(name: str, full_bundle: Bundle, threads: int) -> None:
    with pytest.raises(UsageError, match="threads must be at least 1"):
        open_engine(name, full_bundle, threads=threads)


def test_two_engines_in_one_process_do_not_disturb_each_other(
    name: str, engine: Engine, full_bundle: Bundle
) -> None:
    images = photos(full_bundle, 2)
    alone = engine.run(images)
    present = {entry.format for entry in full_bundle.manifest.files}
    for other in installed_engines():
        if not present.intersection(ENGINES[other].formats):
            continue
        second = open_engine(other, full_bundle, threads=2)
        np.testing.assert_allclose(second.run(images), alone, rtol=0, atol=1e-3)
        np.testing.assert_array_equal(engine.run(images), alone)
        second.close()
    np.testing.assert_array_equal(engine.run(images), alone)


def test_several_threads_may_run_one_engine(engine: Engine, full_bundle: Bundle) -> None:
    batches = [photos(full_bundle, 1 + seed % 3, seed=seed) for seed in range(6)]
    wanted = [engine.run(batch) for batch in batches]
    start = threading.Barrier(len(batches))
    wrong: list[int] = []

    def work(index: int) -> None:
        start.wait()
        for _ in range(10):
            if not np.array_equal(engine.run(batches[index]), wanted[index]):
                wrong.append(index)

    threads = [threading.Thread(target=work, args=(index,)) for index in range(len(batches))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


@pytest.mark.parametrize(("threads", "concurrency"), [(2, 2), (1, 3), (None, 2)])
def test_several_callers_get_the_answers_of_one(
    name: str, engine: Engine, full_bundle: Bundle, threads: int | None, concurrency: int
) -> None:
    shared = open_engine(name, full_bundle, threads=threads, concurrency=concurrency)
    batches = [photos(full_bundle, 2, seed=seed) for seed in range(concurrency)]
    with ThreadPoolExecutor(concurrency) as pool:
        answers = list(pool.map(shared.run, batches))
    shared.close()
    for batch, answer in zip(batches, answers, strict=True):
        np.testing.assert_allclose(answer, engine.run(batch), rtol=0, atol=1e-3)


def test_the_table_says_whose_threads_compute(name: str, full_bundle: Bundle) -> None:
    # In process time, which counts every thread, and no other process.
    if not ENGINES[name].concurrent:
        pytest.skip("callers take turns: one at a time")
    if name == ISOLATED:
        pytest.skip("another process computes")
    shared = open_engine(name, full_bundle, threads=2, concurrency=2)
    batch = photos(full_bundle, 4)
    shared.run(batch)
    own, all_threads = time.thread_time(), time.process_time()
    for _ in range(100):
        shared.run(batch)
    share = (time.thread_time() - own) / (time.process_time() - all_threads)
    shared.close()
    assert (share < 0.5) == ENGINES[name].own_threads
    assert workers_per_core(name) == (2 if share < 0.5 else 1)


def test_no_concurrency_at_all_are_refused(name: str, full_bundle: Bundle) -> None:
    with pytest.raises(UsageError, match="concurrency must be at least 1"):
        open_engine(name, full_bundle, concurrency=0)


def test_closing_an_engine_that_runs_ends_in_a_message_and_nothing_worse(
    name: str, full_bundle: Bundle
) -> None:
    # In a process of its own, which would die of memory that is used after it was freed.
    code = f"""
import threading
import numpy as np
from ghostclas.bundle import Bundle
from ghostclas.engines import open_engine
from ghostclas.errors import UsageError
bundle = Bundle.open({str(full_bundle.path)!r})
engine = open_engine({name!r}, bundle, threads=1)
images = bundle.reference().pixels
wanted = engine.run(images)
started, outcome = threading.Event(), []
def work():
    try:
        while np.array_equal(engine.run(images), wanted):
            started.set()
    except UsageError as error:
        outcome.append(str(error))
thread = threading.Thread(target=work)
thread.start()
started.wait(60)
engine.close()
thread.join(60)
print(*outcome)
"""
    wanted = f"this {name} engine is closed; open another with ghostclas.engines.open_engine"
    assert run_code(name, code).strip() == wanted


def test_loading_does_not_change_the_callers_arithmetic(name: str, full_bundle: Bundle) -> None:
    # In a process of its own: the first session in a process is the one that would.
    code = f"""
import numpy as np
from ghostclas.bundle import Bundle
from ghostclas.engines import open_engine
engine = open_engine({name!r}, Bundle.open({str(full_bundle.path)!r}), threads=1)
engine.run(np.zeros((1, 64, 64, 3), np.uint8))
print((np.array([5e-324]) * np.array([1.0]))[0])
"""
    assert run_code(name, code).split() == ["5e-324"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_a_fork_is_told_instead_of_waiting_for_threads_that_it_has_not(
    name: str, full_bundle: Bundle
) -> None:
    # The fork runs, closes, and opens another; a watchdog ends it if a runtime waits for ever.
    code = f"""
import os, signal, warnings
from ghostclas.bundle import Bundle
from ghostclas.engines import ENGINES, open_engine
from ghostclas.errors import UsageError
warnings.simplefilter("ignore")
bundle = Bundle.open({str(full_bundle.path)!r})
images = bundle.reference().pixels
engine = open_engine({name!r}, bundle, threads=2)
wanted = engine.run(images)
child = os.fork()
if child == 0:
    signal.alarm(60)
    try:
        for count in (0, 4):
            try:
                engine.run(images[:count])
            except UsageError as error:
                assert "forked" in str(error) and "after the fork" in str(error), error
            else:
                raise AssertionError("answered")
        engine.close()
        try:
            answer = open_engine({name!r}, bundle, threads=2).run(images)
        except UsageError as error:
            assert "cannot start again" in str(error), error
            assert not ENGINES[{name!r}].restarts_after_fork
        else:
            assert ENGINES[{name!r}].restarts_after_fork
            assert abs(answer - wanted).max() < 1e-3
        os._exit(0)
    except BaseException as error:
        print(repr(error), flush=True)
        os._exit(1)
_, status = os.waitpid(child, 0)
print("status", status, abs(engine.run(images) - wanted).max() == 0)
"""
    assert run_code(name, code) == "status 0 True\n"


def test_an_archive_runs_like_its_folder(name: str, full_bundle: Bundle, tmp_path: Path) -> None:
    images = photos(full_bundle, 2)
    packed = Bundle.open(pack(full_bundle, tmp_path / "small.zip"))
    answers = []
    for bundle in (full_bundle, packed):
        engine = open_engine(name, bundle, threads=1)
        answers.append(engine.run(images))
        engine.close()
    np.testing.assert_array_equal(answers[0], answers[1])


@pytest.mark.parametrize("name", ONNX_READERS)
def test_the_model_of_these_tests_is_accepted(name: str, tmp_path: Path) -> None:
    engine = open_engine(name, bundle_of(linear_model().SerializeToString(), tmp_path / "b"))
    np.testing.assert_allclose(engine.run(np.full((1, SIDE, SIDE, 3), 7, np.uint8)), [[21, 21]], atol=1e-4)
    engine.close()


@pytest.mark.parametrize("name", ONNX_READERS)
@pytest.mark.parametrize("content", [b"", b"no ONNX at all", linear_model().SerializeToString()[:-40]])
def test_a_file_that_is_no_model_is_refused(name: str, tmp_path: Path, content: bytes) -> None:
    with pytest.raises(BundleError, match=r"model\.onnx") as caught:
        open_engine(name, bundle_of(content, tmp_path / "b"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ONNX_READERS)
@pytest.mark.parametrize("change", [{"size": 48}, {"outputs": 3}, {"dtype": TensorProto.INT32}])
def test_a_model_that_is_not_what_the_manifest_says_is_refused(
    name: str, tmp_path: Path, change: dict[str, Any]
) -> None:
    with pytest.raises(BundleError, match=r"where the manifest says (images|logits)"):
        open_engine(name, bundle_of(linear_model(**change).SerializeToString(), tmp_path / "b"))


@pytest.mark.parametrize("name", ONNX_READERS)
def test_data_outside_the_bundle_is_never_read(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = linear_model()
    weights = next(tensor for tensor in model.graph.initializer if tensor.name == "weights")
    (tmp_path / "outside.bin").write_bytes(weights.raw_data)
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="outside.bin")
    # Runtimes look for it there when a model is given as bytes.
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BundleError, match="it holds data outside the file, which no export"):
        open_engine(name, bundle_of(model.SerializeToString(), tmp_path / "b"))


@pytest.mark.parametrize("name", ONNX_READERS)
def test_a_changed_byte_in_the_model_is_refused_when_it_is_loaded(name: str, tiny_bundle: Bundle) -> None:
    path = tiny_bundle.path / "model.onnx"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    with pytest.raises(BundleError, match=r"model\.onnx is not the file that was exported"):
        open_engine(name, Bundle.open(tiny_bundle.path))


@pytest.mark.parametrize("damage", ["empty", "garbage", "truncated"])
def test_a_file_that_its_manifest_lies_about_is_refused(
    name: str, full_bundle: Bundle, tmp_path: Path, damage: str
) -> None:
    # The checksums are those of the damaged files: only the runtime can see that they are no model.
    bundle = Bundle.open(shutil.copytree(full_bundle.path, tmp_path / "lying"))
    file = bundle.file(
        next(f for f in ENGINES[name].formats if f != "onnx" or name in ("onnxruntime", ISOLATED))
    ).entry
    alike = [e for e in bundle.manifest.files if (e.format, e.precision) == (file.format, file.precision)]
    damaged = {}
    for entry in alike:
        content = bundle.read(entry.path)
        kept = {"empty": b"", "garbage": b"garbage " * 50, "truncated": content[: len(content) // 2]}[damage]
        damaged[entry.path] = FileContent(kept, entry.format, entry.precision, entry.input, entry.output)
    lying = add_files(bundle, damaged)
    # In a process of its own: the runtime reads what was never meant for it.
    code = f"""
from ghostclas.bundle import Bundle
from ghostclas.engines.choice import load_file
from ghostclas.errors import BundleError
try:
    load_file({name!r}, Bundle.open({str(lying.path)!r}).file({file.format!r}))
except BundleError as error:
    print(error)
"""
    (line,) = run_code(name, code).splitlines()
    assert file.path in line


def test_a_changed_byte_is_refused_before_the_runtime_sees_it(
    name: str, full_bundle: Bundle, tmp_path: Path
) -> None:
    bundle = Bundle.open(shutil.copytree(full_bundle.path, tmp_path / "changed"))
    file = bundle.file(
        next(f for f in ENGINES[name].formats if f != "onnx" or name in ("onnxruntime", ISOLATED))
    )
    alike = [e for e in bundle.manifest.files if (e.format, e.precision) == (file.entry.format, "fp32")]
    for entry in alike:
        path = bundle.path / entry.path
        intact = path.read_bytes()
        changed = bytearray(intact)
        changed[len(changed) // 2] ^= 1
        path.write_bytes(changed)
        with pytest.raises(BundleError, match=rf"{re.escape(entry.path)} is not the file that was exported"):
            # Opened anew: a bundle that is open keeps private copies of what it has verified.
            load_file(name, BundleFile(Bundle.open(bundle.path), file.entry))
        path.write_bytes(intact)


def test_only_the_engines_that_are_torch_need_torch(name: str, full_bundle: Bundle) -> None:
    if name in ("torch", "inductor", "executorch", ISOLATED):
        pytest.skip("its package is part of torch, or it is here because of torch")
    code = f"""
import sys
sys.modules["torch"] = None
import numpy as np
from ghostclas.bundle import Bundle
from ghostclas.engines import open_engine
bundle = Bundle.open({str(full_bundle.path)!r})
reference = bundle.reference()
print(abs(open_engine({name!r}, bundle).run(reference.pixels) - reference.logits).max() < 1e-3)
"""
    # Also: whatever a runtime says, it does not say it on stdout.
    assert run_code(name, code) == "True\n"


@pytest.mark.skipif("inductor" not in installed_engines(), reason="no torch, or no C++ compiler")
def test_a_program_is_compiled_once_and_kept_outside_the_bundle(full_bundle: Bundle) -> None:
    def kept() -> dict[Path, int]:
        return {path: path.stat().st_mtime_ns for path in (cache_directory() / "inductor").iterdir()}

    names = sorted(full_bundle.path.rglob("*"))
    open_engine("inductor", full_bundle).close()
    compiled = kept()
    open_engine("inductor", full_bundle).close()
    assert kept() == compiled
    assert compiled
    assert sorted(full_bundle.path.rglob("*")) == names


@needs_openvino
def test_bf16_is_close_to_the_reference_and_really_bf16(full_bundle: Bundle) -> None:
    if not supports_precision("openvino", "bf16"):
        pytest.skip("this processor has no bf16")
    reference = full_bundle.reference()
    engine = open_engine("openvino", full_bundle, precision="bf16", threads=1)
    difference = np.abs(engine.run(reference.pixels) - reference.logits).max()
    engine.close()
    assert TOLERANCE["fp32"].max_abs < difference <= TOLERANCE["bf16"].max_abs


@pytest.mark.parametrize(
    ("vendor", "flags", "faster"),
    [
        ("AuthenticAMD", "fma avx512f avx512_bf16", True),
        ("AuthenticAMD", "fma avx512f", False),
        ("GenuineIntel", "fma avx512f avx512_bf16 avx512_fp16", False),
        ("GenuineIntel", "fma avx512f avx512_bf16 amx_bf16 amx_tile", True),
    ],
)
def test_bf16_is_faster_on_processors_with_units_for_it(vendor: str, flags: str, faster: bool) -> None:
    one = f"processor\t: 0\nvendor_id\t: {vendor}\nmodel name\t: x\nflags\t\t: {flags}\nbugs\t\t:\n"
    assert bf16_is_faster(parse_cpuinfo(one * 2)) is faster


def test_bf16_is_not_faster_on_an_unknown_processor() -> None:
    assert not bf16_is_faster(parse_cpuinfo("processor\t: 0\nFeatures\t: fp asimd bf16\n"))


_FIRST_RUNS = """
import os, signal, sys, threading, warnings
import numpy as np
import openvino
import ghostclas.engines.openvino
from ghostclas.bundle import Bundle
from ghostclas.engines import open_engine
warnings.simplefilter("ignore")
bundle = Bundle.open(sys.argv[1])
image = bundle.reference().pixels[:1]
statuses = []
for _ in range(int(sys.argv[2])):
    child = os.fork()
    if child == 0:
        signal.alarm(60)
        engine = open_engine("openvino", bundle, threads=1, concurrency=4)
        start = threading.Barrier(4)
        threads = [threading.Thread(target=lambda: (start.wait(), engine.run(image))) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        os._exit(0)
    statuses.append(os.waitpid(child, 0)[1])
print(sum(map(bool, statuses)), "of", len(statuses), "hung")
"""


@needs_openvino
@pytest.mark.skipif(not hasattr(os, "fork"), reason="there is no fork on this system")
def test_the_first_runs_of_four_threads_never_wait_for_each_other(small_bundle: Bundle) -> None:
    # Forks of a process that has imported the package and used nothing of it: starts in a tenth of the time.
    command = [sys.executable, "-c", _FIRST_RUNS, str(small_bundle.path), "30"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout == "0 of 30 hung\n"


@needs_openvino
@pytest.mark.parametrize("name", ["auto", "openvino"])
def test_bf16_without_the_processor_is_told(
    name: str, full_bundle: Bundle, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("ghostclas.engines.openvino.OpenVINOEngine.supports", lambda precision: False)
    with pytest.raises(UsageError, match="openvino does not compute in bf16 on this processor"):
        open_engine(name, full_bundle, precision="bf16")


def test_bf16_in_an_engine_that_has_none_is_told(small_bundle: Bundle) -> None:
    with pytest.raises(BundleError, match="there is no onnx bf16 file in this bundle"):
        open_engine("onnxruntime", small_bundle, precision="bf16")


def test_litert_announces_nothing(full_bundle: Bundle, tmp_path: Path) -> None:
    if "litert" not in {entry.format for entry in full_bundle.manifest.files}:
        pytest.skip("the toolchain of litert is not here")
    photo = tmp_path / "photo.jpg"
    photo.write_bytes(full_bundle.reference().jpegs[0])
    command = [sys.executable, "-m", "ghostclas", "predict", str(photo), "--engine", "litert", "--model"]
    done = subprocess.run([*command, str(full_bundle.path)], capture_output=True, text=True, check=True)
    assert "INFO" not in done.stderr
    assert done.stderr.startswith("to keep the answers: ")


def test_what_others_write_to_stderr_meanwhile_is_not_lost(capfd: pytest.CaptureFixture[str]) -> None:
    litert = pytest.importorskip("ghostclas.engines.litert")
    with litert._without_announcement():
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nanother line\n")
    assert capfd.readouterr().err == "another line\n"
