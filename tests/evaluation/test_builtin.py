"""The built-in model has the accuracy of its manifest, and calibrated scores."""

import json

import pytest

from ghostclas.cli import main
from ghostclas.zoo import locate
from tests.real_data import TINY, needs_tiny


@pytest.mark.slow
@needs_tiny
def test_eval_repeats_the_accuracy_in_the_manifest(capsys: pytest.CaptureFixture[str]) -> None:
    command = ["eval", "--data", str(TINY), "--model", "default", "--engine", "onnxruntime", "--json"]
    assert main(command) == 0
    measured = json.loads(capsys.readouterr().out)
    (metric,) = locate("default").bundle().manifest.metrics
    assert (measured["top1"], measured["top5"]) == (metric.top1, metric.top5)
    assert measured["images"] == metric.images == 5000
    # The stored temperature is the one of the half that is fitted on, so the other half judges it.
    assert measured["fitted"]["before"]["temperature"] == measured["calibration"]["temperature"]
    assert measured["fitted"]["before"]["ece"] <= 0.03
    assert measured["fitted"]["temperature"] == pytest.approx(
        measured["calibration"]["temperature"], rel=1e-3
    )
