"""Every installed engine, one after the other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import cast

import onnxruntime as ort
import pytest

from ghostclas.bundle import Bundle
from ghostclas.engines import ENGINES, Engine, installed_engines, open_engine
from ghostclas.engines.table import Runtime
from tests.engines.linear import ISOLATED


@pytest.fixture(scope="module", params=[*installed_engines(), ISOLATED])
def name(request: pytest.FixtureRequest, full_bundle: Bundle) -> Iterator[str]:
    if request.param == ISOLATED:
        pytest.importorskip("torch")
        row = ENGINES["onnxruntime"]._replace(isolated=True, features=False)
        with pytest.MonkeyPatch.context() as patch:
            patch.setitem(cast("dict[str, Runtime]", ENGINES), ISOLATED, row)
            yield ISOLATED
        return
    present = {entry.format for entry in full_bundle.manifest.files}
    if not present.intersection(ENGINES[request.param].formats):
        pytest.skip(f"no toolchain here makes a file for {request.param}")
    if request.param == "tensorrt" and "TensorrtExecutionProvider" not in ort.get_available_providers():
        pytest.skip("no GPU, or an ONNX Runtime without TensorRT")
    yield str(request.param)


@pytest.fixture(scope="module")
def engine(name: str, full_bundle: Bundle) -> Iterator[Engine]:
    opened = open_engine(name, full_bundle, threads=1)
    yield opened
    opened.close()
