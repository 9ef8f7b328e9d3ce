import resource
import sys

import pytest
import torch

from ghostclas.training.memory import keep_freed_memory


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="glibc is asked, which only Linux has")
def test_memory_that_was_freed_is_used_again_without_page_faults() -> None:
    assert keep_freed_memory()

    def faults() -> int:
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        torch.ones(8 * 2**20)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    faults()
    # Mapped anew it would be one fault for each of 8,192 pages.
    assert faults() < 1000
