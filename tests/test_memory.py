"""Memory that threads share: who waits for whom."""

from __future__ import annotations

import os
import threading

import pytest

from ghostclas.memory import MemoryBudget
from tests.limited import run_python


def start(budget: MemoryBudget, count: int, got: list[int]) -> threading.Thread:
    def work() -> None:
        with budget.hold(count):
            got.append(count)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def test_what_fits_beside_the_others_does_not_wait() -> None:
    budget, got = MemoryBudget(100), list[int]()
    with budget.hold(60):
        start(budget, 40, got).join(20)
        assert got == [40]


def test_what_does_not_fit_waits_until_memory_is_returned() -> None:
    budget, got = MemoryBudget(100), list[int]()
    with budget.hold(60):
        waiting = start(budget, 41, got)
        waiting.join(0.1)
        assert got == []
    waiting.join(20)
    assert got == [41]


def test_more_than_there_is_means_all() -> None:
    budget, got = MemoryBudget(100), list[int]()
    with budget.hold(10**9):
        small = start(budget, 1, got)
        small.join(0.1)
        assert got == []
    small.join(20)
    with budget.hold(1):
        large = start(budget, 10**9, got)
        large.join(0.1)
        assert got == [1]
    large.join(20)
    assert got == [1, 10**9]


def test_a_small_one_that_comes_later_does_not_overtake() -> None:
    budget, got = MemoryBudget(100), list[int]()
    with budget.hold(60):
        threads = [start(budget, 100, got)]
        threads[0].join(0.1)
        threads.append(start(budget, 1, got))
        threads[1].join(0.1)
        assert got == []
    for thread in threads:
        thread.join(20)
    assert sorted(got) == [1, 100]


def test_an_error_returns_the_memory() -> None:
    budget, got = MemoryBudget(100), list[int]()
    with pytest.raises(ValueError, match="inside"), budget.hold(100):
        raise ValueError("inside")
    start(budget, 100, got).join(20)
    assert got == [100]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_forked_process_does_not_wait_for_threads_that_it_has_not() -> None:
    code = """
import os
from ghostclas.memory import MemoryBudget
budget = MemoryBudget(100)
with budget.hold(100):
    child = os.fork()
    if not child:
        with budget.hold(100):
            os._exit(7)
    print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"""
    assert run_python(code, cpu_seconds=20).stdout.split() == ["7"]


_FORKED = """
import os, select, signal
from ghostclas import imaging
from ghostclas.memory import ForkLock

def after(work):
    # What the child says when its work is done, or that it says nothing for half a second.
    told, tell = os.pipe()
    child = os.fork()
    if not child:
        work()
        os.write(tell, b"done")
        signal.pause()
    return child, told

def says(told):
    return os.read(told, 4).decode() if select.select([told], [], [], 0.5)[0] else "waits"

def end(child):
    os.kill(child, signal.SIGKILL)
    os.waitpid(child, 0)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_lock_is_held_by_one_of_a_process_and_its_forks_until_it_ends() -> None:
    code = """
lock = ForkLock()
holding = lock.hold()
def hold():
    holding.__enter__()
first, one = after(hold)
print(os.read(one, 4).decode())
second, two = after(hold)
print(says(two))
end(first)
print(os.read(two, 4).decode())
end(second)
with lock.hold(), lock.hold():
    third, three = after(hold)
    print(says(three))
print(os.read(three, 4).decode())
end(third)
"""
    result = run_python(_FORKED + code, cpu_seconds=20)
    assert result.stdout.split() == ["done", "waits", "done", "waits", "done"]


@pytest.mark.skipif(not hasattr(os, "fork"), reason="the system cannot fork")
def test_a_fork_waits_with_a_large_image_and_not_with_a_small_one() -> None:
    code = """
import io
from PIL import Image
def file(side):
    stream = io.BytesIO()
    Image.new("RGB", (side, side)).save(stream, "PNG")
    return stream.getvalue()
large, small = file(6000), file(60)
end(after(lambda: None)[0])
with imaging._LARGE_IMAGES.hold():
    first, one = after(lambda: imaging.decode(small))
    print(os.read(one, 4).decode())
    second, two = after(lambda: imaging.decode(large))
    print(says(two))
print(os.read(two, 4).decode())
end(first)
end(second)
"""
    result = run_python(_FORKED + code, cpu_seconds=20)
    assert result.stdout.split() == ["done", "waits", "done"]
