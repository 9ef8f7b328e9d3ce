"""ONNX files that no export of a network needs, and what of each is refused."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from ghostclas.engines.onnx_graph import MAX_NODES

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

NO_PROTOBUF = (b"\xff", b"\xff" * 20, b"\x3a\x7f", b"\x0b\x0c", b"\x09\x00", b"\x3a")
