"""The bundle of a small network, in both precisions."""

from __future__ import annotations

import pytest

from ghostclas.bundle import Bundle
from ghostclas.exporting.onnx import export_bundle
from ghostclas.spec import Metric, PostprocessSpec
from tests.exporting.stub import CLASSES, PREPROCESS, SPEC, network


@pytest.fixture(scope="session", params=["fp32", "fp16"])
def exported(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export_bundle(
        network(),
        SPEC,
        CLASSES,
        PREPROCESS,
        tmp_path_factory.mktemp("exported") / request.param,
        precision=request.param,
        postprocess=PostprocessSpec(temperature=2),
        metrics=[Metric(dataset="val", images=3, top1=100, through="torch")],
        provenance={"recipe": "by hand"},
    )


@pytest.fixture(scope="session")
def half(tmp_path_factory: pytest.TempPathFactory) -> Bundle:
    return export_bundle(
        network(), SPEC, CLASSES, PREPROCESS, tmp_path_factory.mktemp("half") / "b", precision="fp16"
    )
