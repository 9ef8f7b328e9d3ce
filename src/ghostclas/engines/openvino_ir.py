"""What may be in the ``.xml`` of an OpenVINO IR before OpenVINO sees it.

As of ``onnx_graph``, what no export of ours holds is refused: control flow, whose bodies are graphs of their
own and may run for ever, and declarations of entities, which grow without end where they are expanded.
"""

from __future__ import annotations

from typing import Any
from xml.parsers import expat

MAX_BYTES = 64 * 2**20
"""GhostNet's graph has 0.9 MB."""

MAX_LAYERS = 100_000
MAX_DEPTH = 32

_CONTROL_FLOW = frozenset({"if", "loop", "tensoriterator"})
_SHOWN = 60


def check_ir(content: bytes) -> None:
    """Refuse a graph that is more than one list of layers.

    Raises:
        ValueError: it holds control flow, a document type, too many layers, or is no XML in UTF-8; the text
            says what, as the end of "it holds".
    """
    if len(content) > MAX_BYTES:
        raise ValueError(f"more than {MAX_BYTES:,} bytes")
    depth = layers = 0

    def begin(name: str, attributes: dict[str, str]) -> None:
        nonlocal depth, layers
        depth += 1
        if depth > MAX_DEPTH:
            raise ValueError(f"more than {MAX_DEPTH} levels")
        if name == "layer":
            layers += 1
            if layers > MAX_LAYERS:
                raise ValueError(f"more than {MAX_LAYERS:,} layers")
            if (kind := attributes.get("type", "")).lower() in _CONTROL_FLOW:
                raise ValueError(f"control flow, a layer of type {kind}")
        elif name in ("body", "then_body", "else_body"):
            raise ValueError("a graph inside a layer")

    def end(_: str) -> None:
        nonlocal depth
        depth -= 1

    def refuse(*_: Any) -> None:
        raise ValueError("a document type")

    parser = expat.ParserCreate("utf-8")
    parser.StartElementHandler = begin
    parser.EndElementHandler = end
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    try:
        parser.Parse(content, True)
    except expat.ExpatError as error:
        raise ValueError(f"no XML in UTF-8 ({str(error)[:_SHOWN]})") from None
