"""The seam between the protocols and the process that serves them."""

from __future__ import annotations

import inspect
from importlib import import_module

import pytest

from ghostclas.serve.running import Running


@pytest.mark.parametrize(
    ("protocol", "options"),
    [
        ("http", {"sock", "record", "metrics"}),
        ("grpc", {"host", "port", "reuse_port", "record"}),
        ("brpc", {"sock", "record"}),
    ],
)
def test_each_protocol_starts_as_the_process_asks_it_to(protocol: str, options: set[str]) -> None:
    server = import_module(f"ghostclas.serve.{protocol}.server")
    names = inspect.signature(server.start).parameters
    assert list(names)[:3] == ["service", "limits", "security"]
    assert options <= names.keys()
    for method in ("drain", "close"):
        assert inspect.iscoroutinefunction(getattr(server.Running, method))
        assert inspect.signature(getattr(server.Running, method)).parameters.keys() == (
            inspect.signature(getattr(Running, method)).parameters.keys()
        )
