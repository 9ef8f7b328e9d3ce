"""How much a command says beside its results and errors: nothing, what helps, or its choices as well.

The command line alone turns it. Programs that want the choices listen to the logger ``ghostclas``.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from enum import Enum

Say = Callable[[str], object]

_LOGGER = logging.getLogger("ghostclas")


class Volume(Enum):
    """What is said on stderr."""

    QUIET = "errors"
    NORMAL = "errors, notes, progress, the next command"
    VERBOSE = "all that, what was chosen and why, and where an error was raised"


_now = Volume.NORMAL


def volume() -> Volume:
    """Return how much is said."""
    return _now


@contextmanager
def changing_volume(say: Say) -> Iterator[Callable[[Volume], None]]:
    """Return a function that sets the volume until the block ends.

    Args:
        say: called with each choice in the volume ``VERBOSE``.
    """
    global _now  # one process has one stderr
    before, level, handler = _now, _LOGGER.level, _Saying(say)

    def change(to: Volume) -> None:
        global _now
        _now = to
        if to is Volume.VERBOSE:
            _LOGGER.setLevel(logging.INFO)
            _LOGGER.addHandler(handler)

    try:
        yield change
    finally:
        _now = before
        _LOGGER.removeHandler(handler)
        _LOGGER.setLevel(level)


class _Saying(logging.Handler):
    def __init__(self, say: Say) -> None:
        super().__init__(logging.INFO)
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        self._say(record.getMessage())
