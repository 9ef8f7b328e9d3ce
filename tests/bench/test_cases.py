"""The cases: models, engines and precisions."""

from __future__ import annotations

from ghostclas.bench.cases import engine_package, find_cases
from ghostclas.bench.machine import package_version
from ghostclas.bundle import Bundle
from ghostclas.engines import installed_engines


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


def test_every_installed_engine_has_a_version() -> None:
    assert not [name for name in installed_engines() if package_version(engine_package(name)) is None]
