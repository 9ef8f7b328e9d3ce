"""What the server says of itself."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest

from ghostclas.serve.metrics import Metrics
from tests.serve.http.servers import HttpServer, http_server
from tests.serve.served import builtin_model


@pytest.fixture(scope="module")
def server() -> Iterator[HttpServer]:
    metrics = Metrics()
    with http_server(builtin_model("one"), builtin_model("two"), metrics=metrics.page) as running:
        yield running


def test_the_models_are_listed_with_the_default_first(server: HttpServer) -> None:
    one, two = server.get("/models").json["models"]
    assert (one["name"], two["name"]) == ("one", "two")
    assert one == {
        "name": "one",
        "version": server.service.model("one").version,
        "classes": 200,
        "side": 128,
        "engine": "onnxruntime",
        "precision": server.service.model("one").precision,
    }


def test_the_status_tells_queue_and_limits(server: HttpServer) -> None:
    status = server.get("/status").json
    assert status["ready"] is True
    assert status["queue"] == {"images": 0, "bytes": 0, "requests": 0}
    assert status["limits"]["body_bytes"] == server.service.limits.body_bytes


def test_the_metrics_are_prometheus_text() -> None:
    metrics = Metrics()
    with http_server(metrics=metrics.page) as server:
        reply = server.get("/metrics")
        assert reply.status == 200
        assert reply.headers["content-type"].startswith("text/plain")
        assert b"# TYPE ghostclas_requests_total counter" in reply.body


def test_a_server_without_metrics_says_so() -> None:
    with http_server() as server:
        assert (server.get("/metrics").status, bool(server.get("/metrics").error)) == (404, True)


def test_the_page_is_all_from_here_and_may_load_nothing_else(server: HttpServer) -> None:
    page = server.get("/")
    assert page.status == 200
    assert page.headers["content-type"] == "text/html; charset=utf-8"
    policy = page.headers["content-security-policy"]
    assert "default-src 'none'" in policy
    assert "unsafe" not in policy
    assert page.headers["x-content-type-options"] == "nosniff"
    resources = set(re.findall(r'(?:src|<link[^>]* href)="([^"]+)"', page.body.decode()))
    assert resources == {"/page/app.js", "/page/style.css", "/page/icon.svg"}
    kinds = {"js": "text/javascript; charset=utf-8", "css": "text/css; charset=utf-8", "svg": "image/svg+xml"}
    for path in resources:
        reply = server.get(path)
        assert (reply.status, reply.headers["content-type"]) == (200, kinds[path.rpartition(".")[2]])
        # A namespace is a name, and loads nothing.
        foreign = rb"https?:|url\(|@import|\bimport\b"
        assert not re.search(foreign, reply.body.replace(b"http://www.w3.org/", b""))
