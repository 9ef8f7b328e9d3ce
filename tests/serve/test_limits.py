"""The bounds of the server."""

from __future__ import annotations

import pytest

from ghostclas.errors import UsageError
from ghostclas.serve.limits import Limits


def test_settings_change_the_limits_that_they_name() -> None:
    limits = Limits.parse(["body_bytes=1000", "idle_seconds=0.5"])
    assert (limits.body_bytes, limits.idle_seconds) == (1000, 0.5)
    assert limits.queue_images == Limits().queue_images


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("body_byte=1", "did you mean 'body_bytes'"),
        ("body_bytes", "NAME=NUMBER"),
        ("zzz=1", "there are: queue_images"),
        ("body_bytes=many", "not 'many'"),
        ("body_bytes=1.5", "not '1.5'"),
        ("body_bytes=0", "must be positive"),
        ("idle_seconds=nan", "must be positive"),
        ("idle_seconds=inf", "must be positive"),
        ("request_images=1000", "no more than queue_images"),
    ],
)
def test_a_limit_that_makes_no_sense_is_refused(setting: str, words: str) -> None:
    with pytest.raises(UsageError) as caught:
        Limits.parse([setting])
    assert words in str(caught.value)
