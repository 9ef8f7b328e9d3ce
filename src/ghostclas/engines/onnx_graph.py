"""What may be in an ``.onnx`` before a runtime sees it.

Runtimes do what a graph tells them: repeat a loop for ever, expand functions in functions without end, take
custom operators, read tensors from other files. No export of ours holds any of that, so a file that does is
refused. The file is walked once, as the protobuf that it is. Messages that can hold such a thing are
followed, everything else is stepped over. The walk is linear in the number of fields, which is bounded. It
never goes deeper than the table below, since graphs inside graphs are refused where they begin.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

MAX_NODES = 20_000
"""Of a file; the largest networks of timm have a quarter of that."""

MAX_FIELDS = 1_000_000
"""Of the messages that are followed; walking them takes about a second."""

_CONTROL_FLOW = (b"If", b"Loop", b"Scan", b"SequenceMap")
_DOMAINS = (b"", b"ai.onnx")
_OUTSIDE = "data outside the file"
_SHOWN = 60

# The wire types of protobuf; 3 and 4, groups, are not in use any more.
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_FIXED_SIZES = {_FIXED64: 8, _FIXED32: 4}


class _Message(NamedTuple):
    """The fields of a message that matter, by their numbers in ``onnx.proto``."""

    follow: Mapping[int, str] = {}
    refuse: Mapping[int, str] = {}


_MESSAGES: Mapping[str, _Message] = {
    "model": _Message({7: "graph"}, {20: "training information", 25: "functions"}),
    "graph": _Message({1: "node", 5: "tensor", 15: "sparse tensor"}),
    "node": _Message({5: "attribute"}),
    "attribute": _Message(
        {5: "tensor", 10: "tensor", 22: "sparse tensor", 23: "sparse tensor"},
        {6: "a graph inside a node", 11: "graphs inside a node", 21: "a parameter of a function"},
    ),
    "sparse tensor": _Message({1: "tensor", 2: "tensor"}),
    "tensor": _Message({}, {13: _OUTSIDE}),
}
_OPERATOR, _DOMAIN, _DATA_LOCATION = 4, 7, 14


def check_graph(content: bytes) -> None:
    """Refuse a file that is more than one plain graph of standard operators.

    Raises:
        ValueError: it holds control flow, functions, custom operators, graphs inside nodes, data outside the
            file, too many nodes or fields, or is no protobuf; the text says what, as the end of "it holds".
    """
    nodes = fields = 0
    waiting = [("model", 0, len(content))]
    while waiting:
        kind, position, end = waiting.pop()
        follow, refuse = _MESSAGES[kind]
        is_node = kind == "node"
        nodes += is_node
        if nodes > MAX_NODES:
            raise ValueError(f"more than {MAX_NODES:,} nodes")
        while position < end:
            fields += 1
            if fields > MAX_FIELDS:
                raise ValueError(f"more than {MAX_FIELDS:,} fields")
            key, position = read_varint(content, position, end)
            number, wire = key >> 3, key & 7
            if number in refuse:
                raise ValueError(refuse[number])
            if wire == _BYTES:
                size, start = read_varint(content, position, end)
                position = start + size
                if number in follow:
                    waiting.append((follow[number], start, position))
                elif is_node and number in (_OPERATOR, _DOMAIN):
                    _check_operator(number, content[start : min(position, start + _SHOWN)])
            elif wire == _VARINT:
                value, position = read_varint(content, position, end)
                if kind == "tensor" and number == _DATA_LOCATION and value:
                    raise ValueError(_OUTSIDE)
            elif wire in _FIXED_SIZES:
                position += _FIXED_SIZES[wire]
            else:
                raise ValueError("a field of a kind that ONNX does not have")
            if position > end:
                raise ValueError("a field that does not end")


def _check_operator(number: int, text: bytes) -> None:
    if number == _OPERATOR and text in _CONTROL_FLOW:
        raise ValueError(f"control flow, the operator {text.decode()}")
    if number == _DOMAIN and text not in _DOMAINS:
        raise ValueError(f"an operator of {text.decode('utf-8', 'backslashreplace')!r}, not of ONNX")


def read_varint(content: bytes, position: int, end: int) -> tuple[int, int]:
    """Return the number at ``position`` and where it ends."""
    if position < end and content[position] < 128:
        return content[position], position + 1
    value = shift = 0
    while position < end and shift < 70:
        byte = content[position]
        position += 1
        value |= (byte & 127) << shift
        if byte < 128:
            return value, position
        shift += 7
    raise ValueError("a field that does not end")
