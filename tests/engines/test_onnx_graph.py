"""What runtimes would run without end, or take from elsewhere, is refused before they see it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from ghostclas.bundle import default_bundle_path
from ghostclas.engines import open_engine
from ghostclas.engines.onnx_graph import MAX_NODES, check_graph
from ghostclas.errors import BundleError
from tests.engines.linear import bundle_of, linear_model
from tests.limited import run_python

Change = Callable[[onnx.ModelProto], None]


def endless() -> onnx.GraphProto:
    """The body of a loop whose condition is always true."""
    condition = helper.make_tensor_value_info("go", TensorProto.BOOL, [])
    count = helper.make_tensor_value_info("count", TensorProto.INT64, [])
    on = helper.make_tensor_value_info("on", TensorProto.BOOL, [])
    return helper.make_graph([helper.make_node("Identity", ["go"], ["on"])], "body", [count, condition], [on])


def add_loop(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Loop", ["", ""], [], body=endless()))


def add_loop_without_body(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Loop", ["", ""], []))


def add_graphs(model: onnx.ModelProto) -> None:
    node = helper.make_node("Identity", ["logits"], ["more"])
    node.attribute.append(helper.make_attribute("bodies", [endless()]))
    model.graph.node.append(node)


def add_function(model: onnx.ModelProto) -> None:
    node = helper.make_node("Identity", ["x"], ["y"])
    opset = helper.make_opsetid("", 18)
    model.functions.append(helper.make_function("own", "Twice", ["x"], ["y"], [node], [opset]))


def add_custom_operator(model: onnx.ModelProto) -> None:
    model.graph.node.append(helper.make_node("Run", ["images"], ["more"], domain="com.example"))


def keep_outside(model: onnx.ModelProto) -> None:
    tensor = model.graph.initializer[1]
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="/etc/passwd")


def keep_attribute_outside(model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.zeros(1, np.float32))
    tensor.external_data.add(key="elsewhere", value="/etc/passwd")
    model.graph.node.append(helper.make_node("Constant", [], ["more"], value=tensor))


def keep_sparse_outside(model: onnx.ModelProto) -> None:
    sparse = model.graph.sparse_initializer.add()
    sparse.values.data_location = TensorProto.EXTERNAL


def add_nodes(model: onnx.ModelProto) -> None:
    model.graph.node.extend(helper.make_node("Relu", ["logits"], [f"{i}"]) for i in range(MAX_NODES))


REFUSED: dict[str, tuple[Change, str]] = {
    "loop": (add_loop, "(control flow, the operator Loop|a graph inside a node)"),
    "loop without a body": (add_loop_without_body, "control flow, the operator Loop"),
    "graphs": (add_graphs, "graphs inside a node"),
    "function": (add_function, "functions"),
    "custom operator": (add_custom_operator, "an operator of 'com.example', not of ONNX"),
    "external data": (keep_outside, "data outside the file"),
    "external data of an attribute": (keep_attribute_outside, "data outside the file"),
    "external sparse data": (keep_sparse_outside, "data outside the file"),
    "nodes": (add_nodes, "more than 20,000 nodes"),
}


@pytest.mark.parametrize("kind", REFUSED)
def test_what_no_export_needs_is_refused(kind: str) -> None:
    change, message = REFUSED[kind]
    model = linear_model()
    check_graph(model.SerializeToString())
    change(model)
    with pytest.raises(ValueError, match=message):
        check_graph(model.SerializeToString())


@pytest.mark.parametrize("engine", ["onnxruntime", "auto"])
def test_an_engine_says_what_it_refused_and_what_to_do(engine: str, tmp_path: Path) -> None:
    model = linear_model()
    add_loop(model)
    bundle = bundle_of(model.SerializeToString(), tmp_path / "b")
    with pytest.raises(BundleError, match=r"model\.onnx is refused and was not run: it holds .*again$"):
        open_engine(engine, bundle)


def test_a_second_graph_is_read_as_runtimes_read_it() -> None:
    hidden = linear_model()
    add_loop(hidden)
    # Of two values of one field, protobuf merges the messages.
    with pytest.raises(ValueError, match=r"control flow|a graph inside"):
        check_graph(linear_model().SerializeToString() + hidden.SerializeToString())


def test_the_built_in_model_passes() -> None:
    check_graph((default_bundle_path() / "model.onnx").read_bytes())


@pytest.mark.parametrize("content", [b"\xff", b"\xff" * 20, b"\x3a\x7f", b"\x0b\x0c", b"\x09\x00", b"\x3a"])
def test_what_is_no_protobuf_is_refused(content: bytes) -> None:
    with pytest.raises(ValueError, match="a field"):
        check_graph(content)


def test_any_file_takes_time_by_its_size_alone() -> None:
    code = """
from ghostclas.engines.onnx_graph import check_graph

def message(number, content):
    size, length = len(content), b""
    while size > 127:
        length, size = length + bytes([size & 127 | 128]), size >> 7
    return bytes([number << 3 | 2]) + length + bytes([size]) + content

nested = b""
for _ in range(2_000):  # a graph in an attribute of a node of a graph ...
    nested = message(1, message(5, message(6, nested)))
for content in (
    message(7, nested),
    message(7, message(5, b"\\x08\\x01" * 5_000_000)),
    message(7, message(1, b"") * 5_000_000),
    message(7, b"\\x80" * 10_000_000),
):
    try:
        check_graph(content)
    except ValueError as error:
        print(error)
"""
    done = run_python(code)
    assert done.stdout.splitlines() == [
        "a graph inside a node",
        "more than 1,000,000 fields",
        "more than 1,000,000 fields",
        "a field that does not end",
    ]
    assert done.cpu_seconds < 15
    assert done.peak_bytes < 400e6
