"""The description of a processor, from the formats of x86 and Arm."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from ghostclas.processor import all_cores, parse_cpuinfo, this_processor, usable_cores


def test_x86_names_its_vendor_model_and_flags() -> None:
    one = "vendor_id\t: AuthenticAMD\nmodel name\t: EPYC\nflags\t\t: fma avx512_bf16\nbugs\t\t:\n"
    processor = parse_cpuinfo(one * 2)
    assert (processor.model, processor.vendor) == ("EPYC", "AuthenticAMD")
    assert processor.flags == {"fma", "avx512_bf16"}


def test_arm_names_features_and_no_vendor() -> None:
    processor = parse_cpuinfo("processor\t: 0\nFeatures\t: fp asimd bf16\n\nModel\t\t: Board 4\n")
    assert (processor.model, processor.vendor) == ("Board 4", None)
    assert processor.flags == {"fp", "asimd", "bf16"}


def test_a_system_that_tells_nothing_gives_no_flags() -> None:
    processor = parse_cpuinfo("")
    assert processor.model
    assert (processor.vendor, processor.flags) == (None, frozenset())


def test_this_machine_has_a_name_and_cores() -> None:
    assert this_processor().model
    assert 1 <= usable_cores() <= all_cores()


@pytest.mark.skipif(not hasattr(os, "sched_setaffinity"), reason="processes are not confined here")
def test_a_process_that_is_confined_to_one_core_uses_one() -> None:
    code = (
        "import os; os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:1]); "
        "from ghostclas.processor import usable_cores; print(usable_cores())"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "1"
