"""The head of a network in an ONNX file: what comes after the mean of its last feature map.

Its layers give the exact gradient of a logit with respect to that map, without a training framework. The file
is read as the protobuf that it is (``onnx.proto``, https://onnx.ai), and only the head's weights are taken.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ghostclas.engines.onnx_graph import read_varint

Float64: TypeAlias = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Linear:
    """``weight @ x + bias`` with weight ``[out, in]`` and bias ``[out]``."""

    weight: Float64
    bias: Float64

    def forward(self, x: Float64) -> Float64:
        """Map ``[in]`` to ``[out]``."""
        return self.weight @ x + self.bias

    def backward(self, x: Float64, slope: Float64) -> Float64:
        """Map the derivatives by the output to those by the input ``x``."""
        return slope @ self.weight


@dataclass(frozen=True, eq=False)
class Shift:
    """``x + bias`` with bias ``[out]``."""

    bias: Float64

    def forward(self, x: Float64) -> Float64:
        """Map ``[out]`` to ``[out]``."""
        return x + self.bias

    def backward(self, x: Float64, slope: Float64) -> Float64:
        """Map the derivatives by the output to those by the input ``x``."""
        return slope


@dataclass(frozen=True)
class Clip:
    """``min(max(x, low), high)``; ReLU is 0 to infinity."""

    low: float
    high: float

    def forward(self, x: Float64) -> Float64:
        """Map ``[out]`` to ``[out]``."""
        return x.clip(self.low, self.high)

    def backward(self, x: Float64, slope: Float64) -> Float64:
        """Map the derivatives by the output to those by the input ``x``; at a bend the derivative is 0."""
        return np.where((x > self.low) & (x < self.high), slope, 0.0)


Layer: TypeAlias = Linear | Shift | Clip


@dataclass(frozen=True, eq=False)
class Head:
    """The layers from the mean of the last feature map, ``[K]``, to the logits, ``[C]``."""

    maps: str
    """name of the tensor that holds the last feature map, float32 ``[N, K, H, W]``"""
    layers: Sequence[Layer]

    @property
    def channels(self) -> int:
        """K."""
        return next(int(layer.weight.shape[1]) for layer in self.layers if isinstance(layer, Linear))

    def gradient(self, means: NDArray[np.floating[Any]], index: int) -> Float64:
        """Return the derivative of logit ``index`` by the mean of every channel.

        Args:
            means: the mean of the last feature map over its places, float ``[K]``.
            index: of the class.

        Returns:
            float64 ``[K]``. The derivative by a channel's value at one of P places is 1 / P of it.
        """
        inputs = []
        x: Float64 = np.asarray(means, np.float64)
        for layer in self.layers:
            inputs.append(x)
            x = layer.forward(x)
        slope: Float64 = np.zeros_like(x)
        slope[index] = 1
        for layer, x in zip(reversed(self.layers), reversed(inputs), strict=True):
            slope = layer.backward(x, slope)
        return slope


def read_head(content: bytes, logits: str, classes: int) -> Head:
    """Read the layers between the last feature map and the output ``logits`` of an ONNX file.

    Raises:
        ValueError: the network does not end in a mean over all places of a feature map, 1x1 convolutions or
            linear layers, and ReLU; the text says what stands there instead.
    """
    try:
        head = _head(_Graph.read(content), logits)
        _check_sizes(head, classes)
    except (AttributeError, IndexError, KeyError, OverflowError, TypeError) as error:
        # A field of another type than onnx.proto gives it, or one that is missing.
        raise ValueError(f"something that no export writes ({type(error).__name__})") from None
    return head


def _head(graph: _Graph, logits: str) -> Head:
    layers: list[Layer] = []
    name = logits
    for _ in range(_LONGEST):
        node = graph.producer(name)
        if node.operator in ("ReduceMean", "GlobalAveragePool"):
            if node.operator == "ReduceMean" and not graph.is_over_places(node):
                raise ValueError("a mean over something else than the places of a feature map")
            return Head(node.inputs[0], layers[::-1])
        if node.operator not in _PASSED:
            layers.append(graph.layer(node))
        name = node.inputs[0]
    raise ValueError("no mean over the places of a feature map")


def _check_sizes(head: Head, classes: int) -> None:
    size: int | None = None
    for layer in head.layers:
        if isinstance(layer, Linear):
            if size not in (None, layer.weight.shape[1]):
                raise ValueError(f"a layer for {layer.weight.shape[1]} values behind one that gives {size}")
            size = layer.weight.shape[0]
        if not isinstance(layer, Clip) and layer.bias.shape != (size,):
            raise ValueError(f"a bias {list(layer.bias.shape)} for {size} values")
    if size != classes:
        raise ValueError(f"a last layer that gives {size} values for {classes} classes")


def with_output(content: bytes, name: str) -> bytes:
    """Return an ONNX file whose tensor ``name`` is one more output, the last.

    Two protobuf messages one after the other are their union, so the output is a message behind the file.
    """
    value = _message(_VALUE_NAME, name.encode())
    return content + _message(_GRAPH, _message(_OUTPUT, value))


# ------------------------------------------------------------------ the graph

_LONGEST = 32
_PASSED = ("Flatten", "Reshape", "Squeeze", "Unsqueeze", "Identity", "Dropout")
_PLACES = ({2, 3}, {-2, -1})

# Fields by their numbers in ``onnx.proto``.
_GRAPH = 7
_NODE, _INITIALIZER, _OUTPUT = 1, 5, 12
_VALUE_NAME = 1
_NODE_INPUT, _NODE_OUTPUT, _NODE_OPERATOR, _NODE_ATTRIBUTE = 1, 2, 4, 5
_ATTRIBUTE_NAME, _ATTRIBUTE_FLOAT, _ATTRIBUTE_INT, _ATTRIBUTE_INTS = 1, 2, 3, 8
_TENSOR_DIMS, _TENSOR_TYPE, _TENSOR_FLOATS, _TENSOR_INTS, _TENSOR_NAME, _TENSOR_RAW = 1, 2, 4, 7, 8, 9
_DTYPES: Mapping[int, str] = {1: "<f4", 7: "<i8", 10: "<f2", 11: "<f8"}

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5


class _Node(NamedTuple):
    operator: str
    inputs: Sequence[str]
    attributes: Mapping[str, Any]


@dataclass(eq=False)
class _Graph:
    nodes: dict[str, _Node] = field(default_factory=dict)
    """by each of their outputs"""
    tensors: dict[str, bytes] = field(default_factory=dict)
    """initializers by name, not yet decoded"""

    @classmethod
    def read(cls, content: bytes) -> _Graph:
        graph = cls()
        for part in (value for number, value in _fields(content) if number == _GRAPH):
            for number, value in _fields(part):
                if number == _NODE:
                    node, outputs = _node(value)
                    graph.nodes.update(dict.fromkeys(outputs, node))
                elif number == _INITIALIZER:
                    names = [text for key, text in _fields(value) if key == _TENSOR_NAME]
                    graph.tensors[names[0].decode()] = value
        return graph

    def producer(self, name: str) -> _Node:
        if name not in self.nodes:
            raise ValueError(f"{name!r}, which no operator gives")
        node = self.nodes[name]
        if not node.inputs:
            raise ValueError(f"the operator {node.operator} without an input")
        return node

    def layer(self, node: _Node) -> Layer:
        """Return the layer that an operator of the head is."""
        if node.operator == "Relu":
            return Clip(0.0, np.inf)
        if node.operator == "Clip":
            low, high = (
                float(self.constant(name)) if name else bound
                for name, bound in zip((*node.inputs[1:], "", "")[:2], (-np.inf, np.inf), strict=True)
            )
            return Clip(low, high)
        if node.operator == "Add":
            return Shift(self.constant(node.inputs[1]).reshape(-1))
        if node.operator not in ("Gemm", "MatMul", "Conv"):
            raise ValueError(f"the operator {node.operator}")
        weight = self.constant(node.inputs[1])
        if node.operator == "Conv":
            if weight.ndim != 4 or weight.shape[2:] != (1, 1) or node.attributes.get("group", 1) != 1:
                raise ValueError("a convolution that is not 1x1")
            weight = weight[:, :, 0, 0]
        elif node.operator == "MatMul" or not node.attributes.get("transB", 0):
            weight = weight.T
        plain = all(node.attributes.get(name, 1) == 1 for name in ("alpha", "beta"))
        if weight.ndim != 2 or not plain or node.attributes.get("transA", 0):
            raise ValueError(f"the operator {node.operator} in a form that no linear layer has")
        has_bias = len(node.inputs) > 2
        return Linear(weight, self.constant(node.inputs[2]) if has_bias else np.zeros(len(weight)))

    def is_over_places(self, node: _Node) -> bool:
        axes = node.attributes.get("axes")
        if axes is None and len(node.inputs) > 1:
            axes = self.constant(node.inputs[1]).reshape(-1).tolist()
        return set(axes or ()) in _PLACES

    def constant(self, name: str) -> Float64:
        """Return a constant of the graph, also one that is stored in half precision."""
        for _ in range(_LONGEST):
            if name in self.tensors:
                return _tensor(self.tensors[name])
            node = self.nodes.get(name)
            if node is None or node.operator not in ("Cast", "Identity"):
                break
            name = node.inputs[0]
        raise ValueError("weights that are computed")


def _node(content: bytes) -> tuple[_Node, list[str]]:
    inputs, outputs, operator = [], [], ""
    attributes: dict[str, Any] = {}
    for number, value in _fields(content):
        if number == _NODE_INPUT:
            inputs.append(value.decode())
        elif number == _NODE_OUTPUT:
            outputs.append(value.decode())
        elif number == _NODE_OPERATOR:
            operator = value.decode()
        elif number == _NODE_ATTRIBUTE:
            name, found = _attribute(value)
            attributes[name] = found
    return _Node(operator, inputs, attributes), outputs


def _attribute(content: bytes) -> tuple[str, Any]:
    name, single, several = "", None, []
    for number, value in _fields(content):
        if number == _ATTRIBUTE_NAME:
            name = value.decode()
        elif number == _ATTRIBUTE_FLOAT:
            single = float(np.frombuffer(value, "<f4")[0])
        elif number == _ATTRIBUTE_INT:
            single = value
        elif number == _ATTRIBUTE_INTS:
            several += _integers(value)
    return name, several or single


def _tensor(content: bytes) -> Float64:
    shape: list[int] = []
    dtype, raw = 0, b""
    integers: list[int] = []
    for number, value in _fields(content):
        if number == _TENSOR_DIMS:
            shape += _integers(value)
        elif number == _TENSOR_TYPE:
            dtype = value
        elif number in (_TENSOR_RAW, _TENSOR_FLOATS):
            raw += value
        elif number == _TENSOR_INTS:
            integers += _integers(value)
    if dtype not in _DTYPES:
        raise ValueError(f"weights of the type {dtype}")
    values = np.array(integers) if integers else np.frombuffer(raw, _DTYPES[dtype])
    # A damaged file can hold numbers that are none.
    with np.errstate(invalid="ignore"):
        return values.astype(np.float64).reshape(shape)


# ------------------------------------------------------------------ protobuf


def _fields(content: bytes) -> Iterator[tuple[int, Any]]:
    """Yield the number of each field and its value: an integer, or the bytes of anything else."""
    position, end = 0, len(content)
    while position < end:
        key, position = read_varint(content, position, end)
        number, wire = key >> 3, key & 7
        if wire == _VARINT:
            value, position = read_varint(content, position, end)
            yield number, value
            continue
        if wire == _BYTES:
            size, position = read_varint(content, position, end)
        elif wire in (_FIXED32, _FIXED64):
            size = 4 if wire == _FIXED32 else 8
        else:
            raise ValueError("a field of a kind that ONNX does not have")
        if position + size > end:
            raise ValueError("a field that does not end")
        yield number, content[position : position + size]
        position += size


def _integers(value: int | bytes) -> list[int]:
    """Return the integers of one field: a single one, or several in a row; negative ones have 64 bits."""
    numbers = [value] if isinstance(value, int) else []
    if isinstance(value, bytes):
        position = 0
        while position < len(value):
            number, position = read_varint(value, position, len(value))
            numbers.append(number)
    return [number - (1 << 64) if number >= 1 << 63 else number for number in numbers]


def _message(number: int, content: bytes) -> bytes:
    return _varint(number << 3 | _BYTES) + _varint(len(content)) + content


def _varint(value: int) -> bytes:
    parts = bytearray()
    while value > 127:
        parts.append(value & 127 | 128)
        value >>= 7
    return bytes([*parts, value])
