"""How much is said, and that it ends with the block that changed it."""

from __future__ import annotations

import logging

from ghostclas.volume import Volume, changing_volume, volume


def test_choices_are_said_to_those_who_asked_and_nobody_else() -> None:
    said: list[str] = []
    log = logging.getLogger("ghostclas.somewhere")
    with changing_volume(said.append) as change:
        log.info("before")
        change(Volume.VERBOSE)
        assert volume() is Volume.VERBOSE
        log.info("engine: %s", "onnxruntime")
        log.debug("too much")
    log.info("after")
    assert said == ["engine: onnxruntime"]
    assert volume() is Volume.NORMAL


def test_an_error_ends_the_quiet_too() -> None:
    def fail() -> None:
        with changing_volume(print) as change:
            change(Volume.QUIET)
            raise KeyError

    try:
        fail()
    except KeyError:
        assert volume() is Volume.NORMAL
