"""A signal ends a run between two steps."""

import os
import signal
import sys
import threading

import pytest

from ghostclas.errors import Terminated
from ghostclas.training.stopping import Stop

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="there, os.kill ends a process at once")


def held_twice(stop: Stop, signals: list[signal.Signals], done: list[str]) -> None:
    """Send this process the signals, one after the other, in a block inside a block."""
    with stop.held():
        with stop.held():
            for number in signals:
                os.kill(os.getpid(), number)
                done.append(number.name)
        done.append("outer")


@pytest.mark.parametrize(
    ("number", "error"), [(signal.SIGINT, KeyboardInterrupt), (signal.SIGTERM, Terminated)]
)
def test_a_signal_waits_for_the_end_of_a_block_that_is_held(
    number: signal.Signals, error: type[KeyboardInterrupt]
) -> None:
    done: list[str] = []
    before = signal.getsignal(number)
    with Stop() as stop, pytest.raises(error) as raised:
        held_twice(stop, [number], done)
    assert type(raised.value) is error
    assert done == [number.name, "outer"]
    assert (stop.asked, stop.at_once) == (number, False)
    assert signal.getsignal(number) is before


def test_outside_of_such_a_block_a_signal_raises_at_once() -> None:
    with Stop(), pytest.raises(Terminated):
        os.kill(os.getpid(), signal.SIGTERM)


def test_a_second_signal_does_not_wait() -> None:
    done: list[str] = []
    with Stop() as stop, pytest.raises(KeyboardInterrupt):
        held_twice(stop, [signal.SIGINT, signal.SIGINT], done)
    assert done == ["SIGINT"]
    assert stop.at_once, "the weights may be those of half a step"


def test_what_the_caller_ignores_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with Stop() as stop:
            os.kill(os.getpid(), signal.SIGINT)
        assert stop.asked is None
    finally:
        signal.signal(signal.SIGINT, before)


def test_a_process_made_meanwhile_ends_as_it_would_without_the_handler() -> None:
    with Stop():
        child = os.fork()
        if child == 0:
            os.kill(os.getpid(), signal.SIGTERM)
            signal.pause()
        _, status = os.waitpid(child, 0)
    assert os.WTERMSIG(status) == signal.SIGTERM


def test_in_another_thread_nothing_changes() -> None:
    found: list[object] = []

    def use() -> None:
        with Stop() as stop, stop.held():
            found.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=use)
    thread.start()
    thread.join()
    assert found == [signal.getsignal(signal.SIGTERM)]
