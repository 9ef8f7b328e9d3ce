"""Starting a server."""

from __future__ import annotations

import sys

import pytest

from ghostclas.errors import MissingExtraError, UsageError
from ghostclas.serve import Settings, serve
from ghostclas.serve.sockets import listen, port_of


@pytest.mark.parametrize("workers", [1, 2])
def test_a_server_that_cannot_listen_does_not_start(workers: int) -> None:
    with listen("127.0.0.1", 0, "--http") as taken:
        settings = Settings({"default": "default"}, http=port_of(taken), workers=workers)
        with pytest.raises(UsageError, match="is taken"):
            serve(settings)


def test_without_the_extra_it_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "uvicorn", None)
    with pytest.raises(MissingExtraError, match=r"pip install 'ghostclas\[serve\]'"):
        serve(Settings({"default": "default"}))


def test_windows_serves_in_one_process_only(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.platform", "win32")
    with pytest.raises(UsageError, match="--workers 1"):
        serve(Settings({"default": "default"}, workers=2))
