"""Real measurements of a small model; what they find is not judged, only that it is all there."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import pytest

from ghostclas.bench.cases import find_cases
from ghostclas.bench.cost import count_macs
from ghostclas.bench.fresh import run_fresh
from ghostclas.bench.latency import settings_of
from ghostclas.bench.machine import describe_machine
from ghostclas.bench.models import open_models
from ghostclas.bench.photos import drawn_photos
from ghostclas.bench.results import Settings, read_results
from ghostclas.bench.run import measure
from ghostclas.bundle import Bundle, update_manifest
from ghostclas.cli import main
from ghostclas.engines import installed_engines
from ghostclas.errors import GhostclasError, UsageError
from ghostclas.zoo import ZOO, locate
from tests.images import encode, photo

TINY = Settings(threads=(1, 2), batches=(1, 2), rounds=2, runs=1, warmup=1, cold_starts=1, passes=1, photos=3)


@pytest.fixture
def labelled(tmp_path: Path, small_bundle: Bundle) -> Path:
    for number, name in enumerate(small_bundle.classes[:2]):
        folder = tmp_path / "labelled" / name
        folder.mkdir(parents=True)
        for seed in range(2):
            (folder / f"{seed}.jpg").write_bytes(encode(photo(90, 80, 10 * number + seed), "JPEG"))
    return tmp_path / "labelled"


def test_everything_that_was_asked_for_is_measured(small_bundle: Bundle, labelled: Path) -> None:
    cases, skipped = find_cases([("small", small_bundle)], engines=["onnxruntime"])
    assert skipped == []
    phases: list[str] = []

    def phase(what: str):  # type: ignore[no-untyped-def]
        phases.append(what)
        return lambda done, total: None

    (found,) = (measured := measure(cases, TINY, data=labelled, phase=phase)).cases
    assert phases == ["latency", "fresh processes", "accuracy"]
    wanted = settings_of("onnxruntime", TINY, measured.machine.cores)
    assert {(x.threads, x.batch): x.ms.count for x in found.latency} == dict.fromkeys(wanted, TINY.rounds)
    assert all(x.ms.p25 <= x.ms.p50 <= x.ms.p75 <= x.ms.p95 <= x.ms.p99 for x in found.latency)
    assert measured.noise is not None
    assert found.bytes == small_bundle.file("onnx").entry.bytes
    assert found.macs
    assert found.accuracy
    assert (found.accuracy.images, found.accuracy.measured) == (4, True)
    assert found.cold_start_ms
    assert found.cold_start_ms.count == 1
    assert found.images_per_second
    assert found.images_per_second.p50 > 0
    assert sys.platform == "win32" or (found.peak_memory or 0) > 10_000_000
    assert measured.photos == "3 images of labelled"
    assert str(labelled.parent) not in measured.model_dump_json(), "a path of this machine"


def test_random_weights_get_no_accuracy_but_the_published_one(tiny_bundle: Bundle, labelled: Path) -> None:
    published = {"top1": 74.0, "top5": None, "source": "somebody"}
    bundle = update_manifest(tiny_bundle, provenance={"weights": "random", "published": published})
    cases, _ = find_cases([("small", bundle)], engines=["onnxruntime"])
    only_latency = TINY.model_copy(update={"cold_starts": 0, "passes": 0})
    measured = measure(cases, only_latency, data=labelled)
    (found,) = measured.cases
    assert found.random_weights
    assert found.accuracy
    assert (found.accuracy.top1, found.accuracy.measured, found.accuracy.source) == (74.0, False, "somebody")
    assert "random" in measured.skipped[0]
    assert (found.cold_start_ms, found.images_per_second, found.peak_memory) == (None, None, None)


def test_macs_are_those_of_the_table_of_networks() -> None:
    bundle = locate("default").bundle()
    entry = ZOO["ghostnet_x1_0"]
    macs = count_macs(bundle)
    assert macs
    # Everything but the last two layers grows with the area of the input.
    classes = 1280 * len(bundle.classes)
    areas = (bundle.preprocess.crop / 224) ** 2
    assert areas * (entry.macs - 1280 * 1000) < macs - classes < 1.2 * areas * (entry.macs - 1280 * 1000)


def test_the_command_writes_a_report_that_can_be_read_again(
    small_bundle: Bundle, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "--model", str(small_bundle.path), "--engine", "onnxruntime", "--rounds", "2"]
    report = tmp_path / "report"
    assert main([*words, "--threads", "1", "--batch", "1,2", "--latency-only", "--report", str(report)]) == 0
    shown = capsys.readouterr()
    assert "small" in shown.out
    assert "batch 2, 1 thread" in shown.out
    assert f"open: {report}" in shown.err
    assert [case.model for case in read_results(report).cases] == ["small"]
    assert (report / "batches.png").is_file()


def test_json_is_one_object_on_stdout(small_bundle: Bundle, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["bench", "--model", str(small_bundle.path), "--engine", "onnxruntime", "--rounds", "1"]
    assert main([*words, "--threads", "1", "--batch", "1", "--latency-only", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["machine"]["cores"] >= 1


def test_recommend_measures_and_chooses(
    small_bundle: Bundle, labelled: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["bench", "recommend", "--model", str(small_bundle.path), "--engine", "onnxruntime"]
    words += ["--data", str(labelled), "--rounds", "1"]
    assert main([*words, "--max-ms", "100000"]) == 0
    assert "best within the time" in capsys.readouterr().out
    assert main([*words, "--max-ms", "0.000001"]) == 1
    assert "the fastest, small onnxruntime fp32 64" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["--engine", "onnxruntim"], "did you mean 'onnxruntime'?"),
        (["--precision", "fp23"], "did you mean 'fp32'"),
        (["--precision", "int8"], "nothing here to measure"),
        (["--threads", "two"], "--threads takes numbers"),
        (["--batch", "0"], "--batch takes numbers"),
        (["--model", "nonsense"], "nonsense"),
        (["--size", "100"], "a multiple of 32 pixels"),
        (["dif"], "dif"),
    ],
)
def test_what_there_is_not_is_refused_before_anything_is_measured(
    words: list[str], said: str, small_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    model = [] if "--model" in words or words == ["dif"] else ["--model", str(small_bundle.path)]
    assert main(["bench", *model, *words]) == 2
    shown = capsys.readouterr()
    assert said in shown.err
    assert shown.out == ""


def test_what_one_model_lacks_is_skipped_and_said(small_bundle: Bundle) -> None:
    cases, skipped = find_cases(
        [("small", small_bundle)], engines=["onnxruntime"], precisions=["fp32", "int8"]
    )
    assert [case.precision for case in cases] == ["fp32"]
    (line,) = skipped
    assert line.startswith("small onnxruntime int8: ")


def test_without_names_every_installed_engine_that_reads_the_bundle_is_measured(small_bundle: Bundle) -> None:
    cases, _ = find_cases([("small", small_bundle)])
    assert {case.engine for case in cases} == set(installed_engines()) & {
        "openvino",
        "onnxruntime",
        "tensorrt",
    }
    automatic, _ = find_cases([("small", small_bundle)], engines=["auto"])
    assert [case.engine for case in automatic] == ["onnxruntime"], "what was compared when it was exported"


def test_models_are_made_only_where_they_have_to_be(small_bundle: Bundle) -> None:
    asked: list[tuple[str, int | None]] = []

    def make(model: str, size: int | None) -> Bundle:
        asked.append((model, size))
        return small_bundle

    path = str(small_bundle.path)
    assert [name for name, _ in open_models([path, "default"], make=make)] == [
        "small",
        "ghostnet_x1_0_tiny200",
    ]
    assert asked == []
    open_models([path], [64], make=make)
    assert asked == []
    open_models([path], [96], make=make)
    assert asked == [(path, 96)]
    with pytest.raises(UsageError, match="two models are called small"):
        open_models([path, f"{path}/../small"], make=make)


def test_engines_whose_threads_are_not_theirs_are_timed_once() -> None:
    assert list(settings_of("torch", TINY, 2)) == [(2, 1), (2, 2)]
    assert list(settings_of("onnxruntime", TINY, 2)) == [(1, 1), (2, 1), (2, 2)]


def test_a_process_that_fails_says_why(tmp_path: Path) -> None:
    drawn_photos(tmp_path, 1)
    with pytest.raises(GhostclasError, match=r"a fresh process with onnxruntime fp32 failed: .*no model"):
        run_fresh(tmp_path / "nothing", "onnxruntime", "fp32", tmp_path / "00000.jpg")


def test_the_machine_is_described_without_its_name() -> None:
    import platform

    machine = describe_machine()
    assert machine.cores >= 1
    assert "numpy" in machine.packages
    name = platform.node()
    assert not name or name not in machine.model_dump_json()


@pytest.mark.skipif(sys.platform == "win32", reason="a shell script stands for Python")
def test_what_a_fresh_process_says_in_one_breath_is_heard(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    python = tmp_path / "python"
    python.write_text("""#!/bin/sh\nprintf 'cat\\n{"images_per_second": null, "peak_memory": 5}\\n'\n""")
    python.chmod(0o755)
    monkeypatch.setattr(sys, "executable", str(python))
    for _ in range(5):
        assert run_fresh("model", "onnxruntime", "fp32", tmp_path / "photo.jpg").peak_memory == 5
