"""What runtimes would run without end, or take from elsewhere, is refused before they see it."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.bundle import default_bundle_path
from ghostclas.engines import open_engine
from ghostclas.engines.onnx_graph import check_graph
from ghostclas.errors import BundleError
from tests.engines.hostile_graphs import NO_PROTOBUF, REFUSED, add_loop
from tests.engines.linear import bundle_of, linear_model
from tests.limited import run_python


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


@pytest.mark.parametrize("content", NO_PROTOBUF)
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
