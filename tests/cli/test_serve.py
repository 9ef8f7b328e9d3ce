"""``ghostclas serve``: its options reach the server."""

from __future__ import annotations

from pathlib import Path

import pytest

import ghostclas.serve
from ghostclas.cli import main
from ghostclas.serve import Settings


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[Settings]:
    """What the server was started with; ``tests/serve`` starts it really."""
    settings: list[Settings] = []

    def start(given: Settings) -> int:
        settings.append(given)
        return 7

    monkeypatch.setattr(ghostclas.serve, "serve", start)
    return settings


def test_without_options_the_builtin_model_is_served_to_this_machine_alone(asked: list[Settings]) -> None:
    assert main(["serve"]) == 7
    assert asked == [Settings({"ghostnet_x1_0": "default"})]
    assert asked[0].host == "127.0.0.1"


def test_every_option_reaches_the_server(asked: list[Settings], tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("sixteen-characters", encoding="utf-8")
    options = ["--host", "::", "--http", "1", "--no-grpc", "--brpc", "2", "--engine", "openvino"]
    options += ["--precision", "bf16", "--threads", "3", "--batch-size", "4", "--workers", "5"]
    options += ["--token-file", str(token), "--limit", "body_bytes=6", "--limit", "parts=7"]
    options += ["--no-access-log", "--model", "a=default", "--model", "b=default"]
    assert main(["serve", *options]) == 7
    (settings,) = asked
    assert settings.models == {"a": "default", "b": "default"}
    assert (settings.host, settings.http, settings.grpc, settings.brpc) == ("::", 1, None, 2)
    assert (settings.engine, settings.precision, settings.cores, settings.batch) == ("openvino", "bf16", 3, 4)
    assert (settings.workers, settings.access_log) == (5, False)
    assert (settings.limits.body_bytes, settings.limits.parts) == (6, 7)
    assert settings.security.token == "sixteen-characters"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--limit", "bodybytes=1"], "did you mean 'body_bytes'"),
        (["--tls-key", "key.pem"], "TLS needs both"),
        (["--token-file", "none"], "the token cannot be read from none"),
        (["--model", "http://example.org/model"], "is a URL"),
        (["--workers", "0"], "--workers is 1 to 64"),
    ],
)
def test_a_mistake_is_one_line(
    options: list[str], message: str, asked: list[Settings], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["serve", *options]) == 2
    assert message in capsys.readouterr().err
    assert asked == []
