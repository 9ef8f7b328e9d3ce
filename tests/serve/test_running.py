"""The seam between the protocols and the process that serves them."""

from __future__ import annotations

import inspect

from ghostclas.serve.running import Running


def test_a_protocol_that_runs_has_a_port_drains_and_closes() -> None:
    assert inspect.iscoroutinefunction(Running.drain)
    assert inspect.iscoroutinefunction(Running.close)
    assert isinstance(Running.port, property)
