"""The tensors of the Open Inference Protocol, without a wire format."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from ghostclas.imaging import softmax
from ghostclas.serve import open_inference as protocol
from ghostclas.serve.failures import Kind, ServeError
from ghostclas.serve.open_inference import Output
from ghostclas.serve.service import Answer
from ghostclas.spec import PredictionError
from tests.serve.served import builtin_model


def kind_of(call: Any) -> Kind:
    with pytest.raises(ServeError) as caught:
        call()
    return caught.value.kind


def check(name: str, datatype: str, shape: list[object]) -> int:
    return protocol.check_input(builtin_model(), name, datatype, shape, images=4, bytes_=3 * 128 * 128 * 3)


def test_the_metadata_name_one_input_and_both_outputs() -> None:
    model = builtin_model()
    assert protocol.inputs_of(model) == (("images", "UINT8", (-1, 128, 128, 3)),)
    assert protocol.outputs_of(model) == (("logits", "FP32", (-1, 200)), ("scores", "FP32", (-1, 200)))
    assert "encoded" in protocol.properties_of(model)["alternative_input"]


def test_an_input_that_fits_gives_its_number_of_images() -> None:
    assert check("images", "UINT8", [3, 128, 128, 3]) == 3
    assert check("encoded", "BYTES", [4]) == 4
    assert check("encoded", "BYTES", [2, 1]) == 2


@pytest.mark.parametrize(
    ("name", "datatype", "shape", "kind"),
    [
        ("images", "FP32", [1, 128, 128, 3], Kind.INVALID),
        ("images", "UINT8", [1, 3, 128, 128], Kind.INVALID),
        ("images", "UINT8", [128, 128, 3], Kind.INVALID),
        ("images", "UINT8", [], Kind.INVALID),
        ("images", "UINT8", [0, 128, 128, 3], Kind.INVALID),
        ("images", "UINT8", [True, 128, 128, 3], Kind.INVALID),
        ("images", "UINT8", [-1, 128, 128, 3], Kind.INVALID),
        ("images", "UINT8", [1.0, 128, 128, 3], Kind.INVALID),
        ("images", "UINT8", ["1", 128, 128, 3], Kind.INVALID),
        ("images", "UINT8", [2**50, 128, 128, 3], Kind.INVALID),
        ("images", "UINT8", [5, 128, 128, 3], Kind.TOO_LARGE),
        ("images", "UINT8", [4, 128, 128, 3], Kind.TOO_LARGE),
        ("encoded", "UINT8", [1], Kind.INVALID),
        ("encoded", "BYTES", [1, 2], Kind.INVALID),
        ("encoded", "BYTES", [2**62], Kind.TOO_LARGE),
        ("encoded", "BYTES", [2**62, 4], Kind.INVALID),
        ("encoded", "BYTES", [5], Kind.TOO_LARGE),
        ("other", "BYTES", [1], Kind.INVALID),
    ],
)
def test_an_input_that_does_not_fit_is_refused(
    name: str, datatype: str, shape: list[object], kind: Kind
) -> None:
    assert kind_of(lambda: check(name, datatype, shape)) is kind


@pytest.mark.parametrize("names", [[], ["images", "encoded"], ["images", "images"]])
def test_a_request_has_one_input(names: list[str]) -> None:
    assert kind_of(lambda: protocol.check_inputs(names)) is Kind.INVALID


@pytest.mark.parametrize(
    "outputs",
    [[Output("labels")], [Output("logits"), Output("logits")], [Output("scores", 0)], [Output("scores", -1)]],
)
def test_outputs_that_cannot_be_given_are_refused(outputs: list[Output]) -> None:
    assert kind_of(lambda: protocol.check_outputs(outputs)) is Kind.INVALID


def test_shared_memory_is_refused() -> None:
    names = ["shared_memory_region", "shared_memory_offset"]
    assert kind_of(lambda: protocol.check_parameters("input", names)) is Kind.UNSUPPORTED
    protocol.check_parameters("input", ["binary_data_size"])


def test_outputs_are_the_logits_the_scores_and_the_best_classes() -> None:
    model = builtin_model()
    rows = list(np.random.default_rng(0).normal(size=(2, 200)).astype(np.float32))
    answer = Answer(model, rows)
    logits = protocol.logits_of(answer)
    np.testing.assert_array_equal(protocol.output_of(answer, logits, Output("logits")), np.stack(rows))
    scores = protocol.output_of(answer, logits, Output("scores"))
    np.testing.assert_array_equal(scores, softmax(logits, model.postprocess.temperature))
    best = protocol.output_of(answer, logits, Output("scores", 2))
    assert best.shape == (2, 2)
    value, index, label = best[1, 0].decode().split(":", 2)
    assert int(index) == scores[1].argmax()
    assert label == model.classes[int(index)]
    assert float(value) == pytest.approx(float(scores[1].max()), abs=1e-6)
    assert protocol.output_of(answer, logits, Output("logits", 999)).shape == (2, 200)


def test_a_photo_without_an_answer_fails_the_request_and_is_named() -> None:
    row = np.zeros(200, np.float32)
    answer = Answer(builtin_model(), [row, PredictionError(code="empty", message="it is empty")])
    with pytest.raises(ServeError, match="image 1 of 2, counted from 0: empty: it is empty"):
        protocol.logits_of(answer)
