"""What a server was asked for."""

from __future__ import annotations

from pathlib import Path

import pytest

from ghostclas.errors import UsageError
from ghostclas.processor import usable_cores
from ghostclas.serve.limits import Limits
from ghostclas.serve.security import Security
from ghostclas.serve.settings import Settings


def test_workers_get_the_very_settings() -> None:
    settings = Settings(
        {"pets": "a/b", "default": "default"},
        host="::",
        grpc=None,
        precision="int8",
        workers=3,
        limits=Limits(body_bytes=5, idle_seconds=0.25),
        security=Security("a-token-of-16-characters", Path("chain.pem"), Path("key.pem")),
    )
    again = Settings.from_json(settings.to_json())
    assert again == settings
    assert list(again.models) == ["pets", "default"]
    assert "a-token" not in repr(again)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"http": 65536}, "--http is 0 to 65535"),
        ({"grpc": -1}, "--grpc is 0 to 65535"),
        ({"workers": 0}, "--workers is 1 to 64"),
        ({"cores": 0}, "--threads is at least 1"),
        ({"batch": 0}, "--batch-size is 1 to 256"),
        ({"http": 9000, "brpc": 9000}, "each protocol needs a port of its own"),
    ],
)
def test_numbers_that_make_no_sense_are_refused(changes: dict[str, int], words: str) -> None:
    with pytest.raises(UsageError) as caught:
        Settings({"default": "default"}, **changes)  # type: ignore[arg-type]
    assert words in str(caught.value)


def test_the_cores_are_shared_out_among_the_workers() -> None:
    assert Settings({"a": "a"}).opening.cores == usable_cores()
    assert Settings({"a": "a"}, cores=8, workers=2).opening.cores == 4
    assert Settings({"a": "a"}, cores=1, workers=4).opening.cores == 1


def test_a_second_thread_a_core_decodes_where_a_runtime_has_its_own_threads() -> None:
    opening = Settings({"a": "a"}).opening
    assert opening.threads("onnxruntime") == usable_cores()
    assert opening.threads("openvino") == 2 * usable_cores()
