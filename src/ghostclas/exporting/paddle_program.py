"""From our ONNX graph to a Paddle program, operator by operator.

There is no second definition of a network: the graph has its folding and its arrangement already, and every
family comes through as long as its operators are in ``OPERATORS``. Shapes, axes and other small constants
become attributes; float tensors become parameters.

``paddle`` decides by ``FLAGS_enable_pir_api``, read once at its import, which of its two file formats it
writes, so each format needs a process of its own.
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ghostclas.engines.paddle import import_paddle
from ghostclas.errors import ExportError
from ghostclas.extras import require

Values = dict[str, Any]

_INTEGERS = ("int32", "int64")


class Translator:
    """The values of a graph while it is translated, by their names.

    Paddle variables are results and parameters, numpy arrays constants.
    """

    def __init__(self, paddle: Any) -> None:
        self.paddle = paddle
        self.functional = paddle.nn.functional
        self.values: Values = {}
        self.contents: dict[str, np.ndarray[Any, Any]] = {}
        self._parameters: dict[str, Any] = {}

    def constant(self, name: str) -> Any:
        """Return a constant; ExportError for a value that depends on the photos."""
        value = self.values[name]
        if not isinstance(value, np.ndarray):
            raise ExportError(f"the graph computes {name!r} from the photos, where Paddle takes a constant")
        return value

    def integers(self, name: str) -> list[int]:
        """Return a constant as integers."""
        return [int(number) for number in self.constant(name).reshape(-1)]

    def tensor(self, name: str) -> Any:
        """Return a value as a Paddle variable; a constant becomes a parameter."""
        value = self.values[name]
        if not isinstance(value, np.ndarray):
            return value
        if name not in self._parameters:
            # A scalar becomes [1].
            array = np.array(value, np.float32, ndmin=1)
            known = f"parameter_{len(self._parameters)}"
            self.contents[known] = array
            self._parameters[name] = self.paddle.static.create_parameter(
                array.shape,
                "float32",
                name=known,
                default_initializer=self.paddle.nn.initializer.Constant(0.0),
            )
        return self._parameters[name]

    def fill(self, place: Any) -> None:
        """Give the parameters their values, once they exist.

        An initializer of Paddle would make a list of Python numbers of each of them.
        """
        scope = self.paddle.static.global_scope()
        for name, array in self.contents.items():
            scope.find_var(name).get_tensor().set(array, place)


def _conv(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    x, weight, *bias = node.input
    if options.get("auto_pad", b"NOTSET") not in (b"NOTSET", b"VALID"):
        raise ExportError("a convolution pads by itself, which Paddle does in another way")
    top, left, bottom, right = options.get("pads", [0, 0, 0, 0])
    return t.functional.conv2d(
        t.tensor(x),
        t.tensor(weight),
        t.tensor(bias[0]) if bias else None,
        stride=options.get("strides", [1, 1]),
        padding=[top, left] if (top, left) == (bottom, right) else [top, bottom, left, right],
        dilation=options.get("dilations", [1, 1]),
        groups=options.get("group", 1),
    )


def _gemm(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    a, b, *c = node.input
    if options.get("alpha", 1.0) != 1 or options.get("beta", 1.0) != 1 or options.get("transA", 0):
        raise ExportError("a matrix product is scaled or transposed in a way that is not translated")
    if options.get("transB", 0):
        # Paddle's fully connected layers are [in, out].
        t.values[f"{b} transposed"] = np.ascontiguousarray(t.constant(b).T)
        b = f"{b} transposed"
    product = t.tensor(a) @ t.tensor(b)
    return product + t.tensor(c[0]) if c else product


def _average(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    axes = list(t.integers(node.input[1]) if len(node.input) > 1 else options["axes"])
    x, keep = t.tensor(node.input[0]), bool(options.get("keepdims", 1))
    if axes not in ([2, 3], [-2, -1], [-1, -2]) or len(x.shape) != 4:
        return t.paddle.mean(x, axis=axes, keepdim=keep)
    # As networks of Paddle pool: its oneDNN does not average otherwise.
    pooled = t.functional.adaptive_avg_pool2d(x, 1)
    return pooled if keep else t.paddle.reshape(pooled, [-1, x.shape[1]])


def _pooled(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    if options.get("ceil_mode", 0) or options.get("auto_pad", b"NOTSET") != b"NOTSET":
        raise ExportError("a pooling rounds up or pads by itself, which is not translated")
    top, left, bottom, right = options.get("pads", [0, 0, 0, 0])
    sides = {
        "kernel_size": options["kernel_shape"],
        "stride": options.get("strides", [1, 1]),
        "padding": [top, left] if (top, left) == (bottom, right) else [top, bottom, left, right],
    }
    if node.op_type == "MaxPool":
        return t.functional.max_pool2d(t.tensor(node.input[0]), **sides)
    exclusive = not options.get("count_include_pad", 0)
    return t.functional.avg_pool2d(t.tensor(node.input[0]), exclusive=exclusive, **sides)


def _batch_norm(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    scale, bias, mean, variance = (t.constant(name) for name in node.input[1:])
    factor = scale / np.sqrt(variance + options.get("epsilon", 1e-5))
    for suffix, values in (("factor", factor), ("shift", bias - mean * factor)):
        t.values[f"{node.output[0]} {suffix}"] = values.astype(np.float32).reshape(1, -1, 1, 1)
    scaled = t.tensor(node.input[0]) * t.tensor(f"{node.output[0]} factor")
    return scaled + t.tensor(f"{node.output[0]} shift")


def _clip(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    low, high = ([*node.input[1:], "", ""])[:2]
    bounds = [float(t.constant(name).reshape(-1)[0]) if name else None for name in (low, high)]
    return t.paddle.clip(t.tensor(node.input[0]), *bounds)


def _reshape(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    sides = t.integers(node.input[1])
    if sides.count(-1) > 1:
        # The first is the batch as a shape has it, which 0 copies; the other is to be found out.
        sides[0] = 0
    return t.paddle.reshape(t.tensor(node.input[0]), sides)


def _flatten(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    # Not flatten, on which Paddle Lite 2.13rc0 crashes for x86.
    x = t.tensor(node.input[0])
    if options.get("axis", 1) != 1:
        raise ExportError("only all axes behind the first are flattened")
    return t.paddle.reshape(x, [-1, int(np.prod(x.shape[1:]))])


def _slice(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    x, starts, ends, *rest = node.input
    begin, end = t.integers(starts), t.integers(ends)
    axes = t.integers(rest[0]) if rest else list(range(len(begin)))
    steps = t.integers(rest[1]) if len(rest) > 1 else [1] * len(begin)
    if isinstance(shape := t.values[x], np.ndarray):
        return shape[begin[0] : end[0] : steps[0]]
    most = 2**31 - 1
    end = [min(max(side, -most), most) for side in end]
    if all(step == 1 for step in steps):
        return t.paddle.slice(t.tensor(x), axes, begin, end)
    return t.paddle.strided_slice(t.tensor(x), axes, begin, end, steps)


def _split(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    sizes = t.integers(node.input[1]) if len(node.input) > 1 else len(node.output)
    return t.paddle.split(t.tensor(node.input[0]), sizes, axis=options.get("axis", 0))


def _concat(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    values = [t.values[name] for name in node.input]
    if all(isinstance(value, np.ndarray) for value in values):
        return np.concatenate(values, axis=options["axis"])
    return t.paddle.concat([t.tensor(name) for name in node.input], axis=options["axis"])


def _shape(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    # -1 is the batch, which nothing but a shape is made of.
    shape = np.array(t.values[node.input[0]].shape, np.int64)
    return shape[options.get("start", 0) : options.get("end")]


def _pad(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    x, pads, *rest = node.input
    if options.get("mode", b"constant") != b"constant" or (len(rest) > 1 and rest[1]):
        raise ExportError("only constants are padded with, on all axes")
    sides = t.integers(pads)
    (n0, c0, top, left), (n1, c1, bottom, right) = sides[:4], sides[4:]
    value = float(t.constant(rest[0]).reshape(-1)[0]) if rest and rest[0] else 0.0
    if n0 or n1:
        raise ExportError("the batch is padded")
    padded = t.tensor(x)
    if top or left or bottom or right:
        padded = t.functional.pad(padded, [left, right, top, bottom], value=value)
    if c0 or c1:
        padded = t.functional.pad(
            padded.unsqueeze(1), [0, 0, 0, 0, c0, c1], value=value, data_format="NCDHW"
        ).squeeze(1)
    return padded


def _resize(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    x, _, scales, sizes = [*node.input, "", ""][:4]
    if options.get("mode", b"nearest") != b"nearest":
        raise ExportError("only nearest pixels are resized to")
    if options.get("coordinate_transformation_mode") != b"asymmetric":
        raise ExportError("pixels are resized to by their corners alone")
    source = t.tensor(x)
    if sizes:
        height, width = t.integers(sizes)[2:]
    else:
        enlarged = zip(source.shape[2:], t.constant(scales)[2:], strict=True)
        height, width = (int(side * scale) for side, scale in enlarged)
    # In parts: Paddle 3.3 cannot run its own operator of this kind in oneDNN.
    return _repeated(t, _repeated(t, source, 2, height), 3, width)


def _repeated(t: Translator, x: Any, axis: int, size: int) -> Any:
    """Return ``x`` with rows or columns repeated until there are ``size``: the nearest before each place."""
    side, inside = x.shape[axis], int(np.prod(x.shape[axis + 1 :]))
    if side == size:
        return x
    shape = [-1, *x.shape[1:axis], size, *x.shape[axis + 1 :]]
    if size % side == 0:
        flat = t.paddle.reshape(x, [-1, int(np.prod(x.shape[1 : axis + 1])), 1, inside])
        return t.paddle.reshape(t.paddle.concat([flat] * (size // side), axis=2), shape)
    lines = [place * side // size for place in range(size)]
    return t.paddle.concat([t.paddle.slice(x, [axis], [line], [line + 1]) for line in lines], axis=axis)


def _hard_sigmoid(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    slope, offset = options.get("alpha", 0.2), options.get("beta", 0.5)
    return t.functional.hardsigmoid(t.tensor(node.input[0]), slope=slope, offset=offset)


def _cast(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    if isinstance(t.values[node.input[0]], np.ndarray) and options["to"] in (6, 7):
        return t.values[node.input[0]].astype(np.int64)
    x = t.tensor(node.input[0])
    if options["to"] != 1:
        raise ExportError("only casts to float32 are translated")
    return t.paddle.cast(x, "float32")


def _squeeze(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    if isinstance(value := t.values[node.input[0]], np.ndarray):
        return value.squeeze(tuple(t.integers(node.input[1])))
    return t.paddle.squeeze(t.tensor(node.input[0]), axis=t.integers(node.input[1]))


def _unsqueeze(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    if isinstance(value := t.values[node.input[0]], np.ndarray):
        return np.expand_dims(value, tuple(t.integers(node.input[1])))
    return t.paddle.unsqueeze(t.tensor(node.input[0]), axis=t.integers(node.input[1]))


def _transpose(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    return t.paddle.transpose(t.tensor(node.input[0]), list(options["perm"]))


def _identity(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    return t.values[node.input[0]]


def _sigmoid(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
    x = t.tensor(node.input[0])
    if t.paddle.framework.in_pir_mode():
        return t.functional.sigmoid(x)
    # Paddle's own function no longer takes its former variables.
    block = t.paddle.base.layer_helper.LayerHelper("sigmoid")
    result = block.create_variable_for_type_inference(x.dtype)
    block.append_op(type="sigmoid", inputs={"X": x}, outputs={"Out": result})
    return result


def _unary(name: str) -> Callable[..., Any]:
    def apply(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
        return getattr(t.functional, name)(t.tensor(node.input[0]))

    return apply


def _binary(function: Callable[[Any, Any], Any]) -> Callable[..., Any]:
    # Python's operators: Paddle's functions of these names no longer take its former variables.
    def apply(t: Translator, node: Any, options: Mapping[str, Any]) -> Any:
        return function(t.tensor(node.input[0]), t.tensor(node.input[1]))

    return apply


OPERATORS: Mapping[str, Callable[[Translator, Any, Mapping[str, Any]], Any]] = {
    "Add": _binary(operator.add),
    "AveragePool": _pooled,
    "BatchNormalization": _batch_norm,
    "Cast": _cast,
    "Clip": _clip,
    "Concat": _concat,
    "Conv": _conv,
    "Div": _binary(operator.truediv),
    "Flatten": _flatten,
    "Gemm": _gemm,
    "GlobalAveragePool": lambda t, node, _: t.functional.adaptive_avg_pool2d(t.tensor(node.input[0]), 1),
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _unary("hardswish"),
    "Identity": _identity,
    "MatMul": _binary(operator.matmul),
    "MaxPool": _pooled,
    "Mul": _binary(operator.mul),
    "Pad": _pad,
    "ReduceMean": _average,
    "Relu": _unary("relu"),
    "Reshape": _reshape,
    "Resize": _resize,
    "Shape": _shape,
    "Sigmoid": _sigmoid,
    "Slice": _slice,
    "Split": _split,
    "Squeeze": _squeeze,
    "Sub": _binary(operator.sub),
    "Transpose": _transpose,
    "Unsqueeze": _unsqueeze,
}


def write_program(
    onnx_file: Path, prefix: Path, *, normalised_planes: bool = False, softmax: bool = False
) -> None:
    """Write the graph as a Paddle program with its parameters, ``prefix`` with the suffixes that Paddle adds.

    Args:
        onnx_file: a graph of ours, float32, from uint8 photos to ``logits``.
        prefix: the path of the program without its suffix.
        normalised_planes: take float32 ``[N, 3, H, W]`` that the caller has normalised, as programs of
            PaddleClas do, instead of uint8 ``[N, H, W, 3]``.
        softmax: give probabilities instead of logits.

    Raises:
        ExportError: the graph has an operator that is not translated.
        MissingExtraError: onnx or paddlepaddle is not installed.
    """
    onnx = require("onnx", extra="paddle")
    paddle = import_paddle()
    graph = onnx.load_model(onnx_file).graph
    paddle.enable_static()
    program, startup = paddle.static.Program(), paddle.static.Program()
    place = paddle.CPUPlace()
    executor = paddle.static.Executor(place)
    with paddle.static.program_guard(program, startup):
        translator = Translator(paddle)
        values = translator.values
        for tensor in graph.initializer:
            values[tensor.name] = onnx.numpy_helper.to_array(tensor)
        (photos,) = graph.input
        sides = [side.dim_value for side in photos.type.tensor_type.shape.dim][1:]
        if normalised_planes:
            height, width, channels = sides
            feed = paddle.static.data("x", [None, channels, height, width], "float32")
            nodes = _behind_normalisation(graph.node, photos.name)
            values[nodes.pop(0)] = feed
        else:
            feed = values[photos.name] = paddle.static.data(photos.name, [None, *sides], "uint8")
            nodes = list(graph.node)
        for node in _needed(nodes, graph.output[0].name):
            _translate(onnx, translator, node)
        logits = translator.tensor(graph.output[0].name)
        if softmax:
            logits = paddle.nn.functional.softmax(logits)
        executor.run(startup)
        translator.fill(place)
        paddle.static.save_inference_model(str(prefix), [feed], [logits], executor, program=program)
    legacy = prefix.with_suffix(".pdmodel")
    if legacy.is_file():
        _forget_call_stacks(paddle, legacy)


def _forget_call_stacks(paddle: Any, file: Path) -> None:
    """Remove from a program where its operators were made: paths of this machine."""
    program = paddle.static.deserialize_program(file.read_bytes())
    for step in program.global_block().ops:
        for name in ("op_callstack", "op_namescope"):
            if step.has_attr(name):
                step._remove_attr(name)
    file.write_bytes(program.desc.serialize_to_string())


def _behind_normalisation(nodes: Sequence[Any], photos: str) -> list[Any]:
    """Return the name of the normalised planes, and the nodes behind them."""
    name, rest = photos, list(nodes)
    for wanted in ("Transpose", "Cast", "Sub", "Mul"):
        node = next((node for node in rest if node.op_type == wanted and name in node.input), None)
        if node is None:
            raise ExportError(f"the graph has no {wanted} where it normalises the photos")
        rest.remove(node)
        name = node.output[0]
    return [name, *rest]


def _needed(nodes: Sequence[Any], output: str) -> list[Any]:
    """Return the nodes that ``output`` is computed from, in their order."""
    wanted = {output}
    kept = []
    for node in reversed(nodes):
        if wanted.intersection(node.output):
            wanted.update(node.input)
            kept.append(node)
    return kept[::-1]


def _translate(onnx: Any, translator: Translator, node: Any) -> None:
    options = {field.name: onnx.helper.get_attribute_value(field) for field in node.attribute}
    if node.op_type == "Constant":
        translator.values[node.output[0]] = onnx.numpy_helper.to_array(options["value"])
        return
    if node.op_type not in OPERATORS:
        raise ExportError(
            f"the operator {node.op_type} of the ONNX graph is not translated to Paddle; "
            "use another format, or Paddle's own network for this model"
        )
    result = OPERATORS[node.op_type](translator, node, options)
    results = result if isinstance(result, list | tuple) else [result]
    for name, value in zip(node.output, results, strict=True):
        translator.values[name] = value
