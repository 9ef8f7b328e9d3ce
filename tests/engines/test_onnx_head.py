"""Heads of networks, read from ONNX files made by hand; everything else is refused with a reason."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import onnx
import pytest
from onnx import NodeProto, TensorProto, helper, numpy_helper

from ghostclas.bundle import default_bundle_path
from ghostclas.engines.onnx_head import read_head, with_output

CHANNELS, HIDDEN, CLASSES = 3, 5, 4
RNG = np.random.default_rng(0)
CONV = RNG.normal(size=(HIDDEN, CHANNELS, 1, 1)).astype(np.float32)
CONV_BIAS = RNG.normal(size=HIDDEN).astype(np.float32)
LAST = RNG.normal(size=(CLASSES, HIDDEN)).astype(np.float32)
LAST_BIAS = RNG.normal(size=CLASSES).astype(np.float32)
MEANS = RNG.normal(size=CHANNELS)

node = helper.make_node


def file_of(nodes: Sequence[NodeProto], **constants: np.ndarray) -> bytes:
    graph = helper.make_graph(
        nodes,
        "made",
        [helper.make_tensor_value_info("maps", TensorProto.FLOAT, ["N", CHANNELS, 2, 2])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, None)],
        [numpy_helper.from_array(value, name) for name, value in constants.items()],
    )
    content = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()
    return bytes(content)


def expected(low: float = 0.0, high: float = np.inf) -> np.ndarray:
    """The derivative of logit 1 by the means, written out."""
    before = CONV[:, :, 0, 0].astype(np.float64) @ MEANS + CONV_BIAS
    open_ = (before > low) & (before < high)
    return np.asarray((LAST[1].astype(np.float64) * open_) @ CONV[:, :, 0, 0])


POOLS = {
    "mean": ([node("ReduceMean", ["maps", "axes"], ["pooled"], keepdims=1)], {"axes": np.array([2, 3])}),
    "mean from the end": (
        [node("ReduceMean", ["maps", "axes"], ["pooled"], keepdims=1)],
        {"axes": np.array([-1, -2])},
    ),
    "global": ([node("GlobalAveragePool", ["maps"], ["pooled"])], {}),
}
LASTS = {
    "Gemm": ([node("Gemm", ["features", "last", "last_bias"], ["logits"], transB=1)], LAST),
    "turned Gemm": ([node("Gemm", ["features", "last", "last_bias"], ["logits"])], LAST.T.copy()),
    "MatMul and Add": (
        [node("MatMul", ["features", "last"], ["raw"]), node("Add", ["raw", "last_bias"], ["logits"])],
        LAST.T.copy(),
    ),
}


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("pool", POOLS)
@pytest.mark.parametrize("last", LASTS)
def test_the_gradient_is_that_of_the_layers(pool: str, last: str, half: bool) -> None:
    pooling, axes = POOLS[pool]
    final, weight = LASTS[last]
    nodes = [*pooling, node("Conv", ["pooled", "conv", "conv_bias"], ["hidden"], kernel_shape=[1, 1])]
    nodes += [node("Relu", ["hidden"], ["active"]), node("Flatten", ["active"], ["features"]), *final]
    constants = {"last": weight, "last_bias": LAST_BIAS, "conv": CONV, "conv_bias": CONV_BIAS, **axes}
    if half:
        del constants["conv"]
        nodes.insert(0, node("Cast", ["conv.half"], ["conv"], to=TensorProto.FLOAT))
        constants["conv.half"] = CONV.astype(np.float16)
    head = read_head(file_of(nodes, **constants), "logits", CLASSES)
    assert (head.maps, head.channels) == ("maps", CHANNELS)
    np.testing.assert_allclose(head.gradient(MEANS, 1), expected(), atol=2e-3 if half else 1e-6)


def test_a_clip_stops_the_gradient_on_both_sides() -> None:
    nodes = [
        node("GlobalAveragePool", ["maps"], ["pooled"]),
        node("Conv", ["pooled", "conv", "conv_bias"], ["hidden"]),
        node("Clip", ["hidden", "low", "high"], ["active"]),
        node("Flatten", ["active"], ["features"]),
        node("Gemm", ["features", "last", "last_bias"], ["logits"], transB=1),
    ]
    bounds = {"low": np.array(-0.5, np.float32), "high": np.array(0.5, np.float32)}
    constants = {"last": LAST, "last_bias": LAST_BIAS, "conv": CONV, "conv_bias": CONV_BIAS, **bounds}
    head = read_head(file_of(nodes, **constants), "logits", CLASSES)
    np.testing.assert_allclose(head.gradient(MEANS, 1), expected(-0.5, 0.5), atol=1e-6)


def pooled_and(*nodes: NodeProto) -> list[NodeProto]:
    return [
        node("GlobalAveragePool", ["maps"], ["pooled"]),
        node("Flatten", ["pooled"], ["features"]),
        *nodes,
    ]


@pytest.mark.parametrize(
    ("nodes", "reason"),
    [
        (pooled_and(node("Softmax", ["features"], ["logits"])), "the operator Softmax"),
        (pooled_and(node("MatMul", ["features", "features"], ["logits"])), "weights that are computed"),
        (pooled_and(node("Gemm", ["features", "last"], ["logits"], alpha=2.0)), "no linear layer"),
        (pooled_and(node("Gemm", ["features", "last"], ["logits"])), "3 values for 4 classes"),
        (
            [node("ReduceMean", ["maps", "last"], ["logits"])],
            "a mean over something else than the places",
        ),
        ([node("Conv", ["maps", "three"], ["logits"])], "a convolution that is not 1x1"),
        ([node("Gemm", ["maps"], ["logits"])], "something that no export writes"),
        ([node("Relu", ["logits"], ["logits"])], "no mean over the places"),
        ([node("Relu", ["nothing"], ["logits"])], "'nothing', which no operator gives"),
    ],
)
def test_other_ends_are_refused(nodes: list[NodeProto], reason: str) -> None:
    constants = {
        "last": np.ones((CLASSES, CHANNELS), np.float32).T.copy()[:, :3],
        "three": np.ones((CLASSES, CHANNELS, 3, 3), np.float32),
    }
    with pytest.raises(ValueError, match=reason):
        read_head(file_of(nodes, **constants), "logits", CLASSES)


def test_damaged_files_raise_nothing_but_value_errors() -> None:
    content = file_of(
        [
            node("GlobalAveragePool", ["maps"], ["pooled"]),
            node("Flatten", ["pooled"], ["features"]),
            node("Gemm", ["features", "last", "last_bias"], ["logits"], transB=1),
        ],
        last=LAST[:, :CHANNELS],
        last_bias=LAST_BIAS,
    )
    assert read_head(content, "logits", CLASSES).channels == CHANNELS
    rng = np.random.default_rng(1)
    refused = 0
    for _ in range(3000):
        damaged = bytearray(content)
        for place in rng.integers(0, len(damaged), rng.integers(1, 4)):
            damaged[place] = rng.integers(0, 256)
        try:
            read_head(bytes(damaged), "logits", CLASSES)
        except ValueError:
            refused += 1
    assert refused > 1000


def test_one_more_output_is_one_more_output() -> None:
    content = (default_bundle_path() / "model.onnx").read_bytes()
    maps = read_head(content, "logits", 200).maps
    model = onnx.load_model_from_string(with_output(content, maps))
    assert [value.name for value in model.graph.output] == ["logits", "features", maps]
    del model.graph.output[2]
    assert model == onnx.load_model_from_string(content)
