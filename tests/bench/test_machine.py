"""The description of the machine, without its name."""

from __future__ import annotations

from ghostclas.bench.machine import describe_machine


def test_the_machine_is_described_without_its_name() -> None:
    import platform

    machine = describe_machine()
    assert machine.cores >= 1
    assert "numpy" in machine.packages
    name = platform.node()
    assert not name or name not in machine.model_dump_json()
