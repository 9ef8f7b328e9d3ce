"""Real measurements of a small model: every figure is present; none is judged."""

from __future__ import annotations

import sys
from pathlib import Path

from ghostclas.bench.cases import find_cases
from ghostclas.bench.latency import settings_of
from ghostclas.bench.run import measure
from ghostclas.bundle import Bundle, update_manifest
from ghostclas.data import open_splits
from ghostclas.data.set_aside import describe_set_aside
from tests.bench.tiny import TINY
from tests.colours import THREE, colour_bundle, colour_folder


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


def test_accuracy_is_measured_on_what_training_set_aside(tmp_path: Path) -> None:
    lab = colour_folder(tmp_path / "lab", {name: [name] * 5 for name in THREE})
    record = describe_set_aside(open_splits(lab).val, 0)
    assert record
    bundle = colour_bundle(tmp_path / "model", sorted(THREE))
    bundle = update_manifest(bundle, provenance={"set_aside": record.model_dump(mode="json")})
    cases, _ = find_cases([("colours", bundle)], engines=["onnxruntime"])
    only_latency = TINY.model_copy(update={"cold_starts": 0, "passes": 0})
    for split, images in ((None, 3), ("all", 15)):
        measured = measure(cases, only_latency, data=lab, split=split)
        (found,) = measured.cases
        assert found.accuracy
        assert found.accuracy.images == images
        assert ("measured on the 3 of 15 images" in " ".join(measured.skipped)) == (split is None)


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
