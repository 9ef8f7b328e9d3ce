"""A few labelled photos, and the results of a family of networks."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.bench.results import Results
from ghostclas.bundle import Bundle
from tests.bench.made import PUBLISHED, case, results
from tests.bench.tiny import labelled_photos


@pytest.fixture
def labelled(tmp_path: Path, small_bundle: Bundle) -> Path:
    return labelled_photos(tmp_path, small_bundle)


@pytest.fixture
def family() -> Results:
    return results(
        *(
            case(model, ms * factor, top1, engine=engine, bytes=size)
            for engine, factor in (("openvino", 0.9), ("onnxruntime", 1.0))
            for model, ms, top1, size in (
                ("ghostnet_x0_5", 1.6, 66.9, 10_400_000),
                ("ghostnet_x1_0", 3.9, 74.0, 20_800_000),
                ("ghostnet_x1_3", 5.9, 75.8, 29_500_000),
            )
        ),
        case("mobilenetv3_large_100", 3.3, accuracy=PUBLISHED, random_weights=True),
    )
