import subprocess
import sys

import pytest

# In a process of its own: in one that ran other tests the blocks lie in other ways.
FAULTS = """
import resource
import sys
import torch
from ghostclas.training.memory import keep_freed_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    torch.ones(8 * 2**20)
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

if "kept" in sys.argv:
    assert keep_freed_memory()
# glibc first keeps seven scraps of each size, which lie between the large blocks.
print([faults() for _ in range(20)][-1])
"""


def faults_of_another_step(*arguments: str) -> int:
    """Return the page faults of filling 32 MiB where as much was filled and freed many times."""
    command = [sys.executable, "-c", FAULTS, *arguments]
    return int(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is asked, which only Linux has")
def test_memory_that_was_freed_is_used_again_without_page_faults() -> None:
    # Mapped anew they are 8,192, or 16 where the kernel hands out huge pages.
    assert faults_of_another_step("kept") < faults_of_another_step() / 2
