"""One serving process, from its start to its end."""

from __future__ import annotations

import asyncio
import shutil
import signal
import socket
import threading
from http.client import HTTPException
from pathlib import Path

import pytest

from ghostclas.bundle import Bundle, copy_bundle, update_manifest
from ghostclas.serve.worker import HUNG, in_thread
from tests.serve.processes import Load, Server, ask, label
from tests.serve.served import builtin_bundle, jpeg

NEVER_DECODED = """
import time
import ghostclas.serve.batching as batching

batching.preprocess = lambda *arguments, **options: time.sleep(3600)
"""
"""No photo is slow on every machine: in such a server, none is ever decoded."""


def test_sigterm_under_load_answers_what_was_accepted_and_leaves_nothing() -> None:
    with Server() as server:
        ready = server.ready()
        with Load(ready["http"], clients=6) as load:
            load.answers(30)
            server.send(signal.SIGTERM)
            assert server.wait() == 0
        assert set(load.statuses) <= {200, 503}
        assert (load.errors, load.wrong) == ([], [])
        lines = [line for line in server.lines if line.get("method") == "POST /predict"]
        # Whoever was counted as answered was logged as answered: the photos asked before the load, too.
        assert sum(line["status"] == "200" for line in lines) == load.statuses[200] + 6
        assert all(line["request_id"] and line["trace_id"] and line["ms"] >= 0 for line in lines)


@pytest.mark.parametrize("how", ["second signal", "grace period"])
def test_what_takes_too_long_to_drain_is_cut_off(how: str) -> None:
    limit = ("--limit", "grace_seconds=0.1") if how == "grace period" else ()
    with Server(*limit, code=NEVER_DECODED) as server:
        port = server.ready()["http"]
        body = jpeg()
        head = b"POST /predict HTTP/1.1\r\nHost: a\r\nContent-Length: %d\r\n\r\n" % len(body)
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(8)]
        for client in clients:
            client.sendall(head + body)
        while ask(port, path="/status")[1]["queue"]["requests"] < 8:
            pass
        server.send(signal.SIGTERM)
        server.until("draining: 8 requests")
        if how == "second signal":
            server.send(signal.SIGTERM)
        assert server.wait() == 1
        for client in clients:
            client.close()


def test_a_port_of_grpc_that_is_taken_is_one_line_too() -> None:
    with (
        socket.create_server(("127.0.0.1", 0)) as taken,
        Server("--grpc", str(port_of(taken)), grpc=True) as server,
    ):
        assert server.wait() == 2
        (message,) = server.messages
        assert message.startswith("error: grpc cannot be served: ")
        assert message.endswith("choose another port: --grpc PORT\n")


def test_a_port_that_is_taken_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken, Server("--http", str(port_of(taken))) as server:
        assert server.wait() == 2
        assert server.messages == [
            f"error: port {port_of(taken)} of 127.0.0.1 is taken; choose another: --http PORT\n"
        ]


def port_of(sock: socket.socket) -> int:
    return int(sock.getsockname()[1])


def test_a_batch_that_hangs_ends_the_process() -> None:
    with Server("--limit", "hang_seconds=0.2", code=NEVER_DECODED) as server:
        port = server.ready()["http"]
        asking = threading.Thread(target=ends_without_an_answer, args=(port,))
        asking.start()
        assert server.wait() == HUNG
        asking.join()
        assert any("a batch has taken over 0.2 seconds" in message for message in server.messages)


def ends_without_an_answer(port: int) -> None:
    with pytest.raises((ConnectionError, HTTPException)):
        ask(port, "POST", "/predict", jpeg())


def test_a_reload_serves_the_new_bundle_and_a_bad_one_changes_nothing(tmp_path: Path) -> None:
    bundle = copy_bundle(builtin_bundle(), tmp_path / "pets")
    with Server("--model", f"pets={bundle.path}") as server:
        ready = server.ready()
        port, before = ready["http"], ready["models"][0]["version"]
        with Load(port, clients=2) as load:
            load.answers(5)
            server.send(signal.SIGHUP)
            server.until("reloaded: every model is as it was")
            update_manifest(Bundle.open(bundle.path), provenance={"note": "another"})
            server.send(signal.SIGHUP)
            server.until("reloaded: pets")
            after = version(port)
            assert after != before
            (bundle.path / "model.onnx").write_bytes(b"damaged")
            server.send(signal.SIGHUP)
            server.until("error: pets is not reloaded, and nothing changed")
            assert version(port) == after
            shutil.rmtree(bundle.path)
            server.send(signal.SIGHUP)
            server.until("error: pets is not reloaded, and nothing changed")
            load.answers(5)
        assert set(load.statuses) == {200}
        assert (load.errors, load.wrong) == ([], [])
        server.send(signal.SIGTERM)
        assert server.wait() == 0


def version(port: int) -> str:
    (found,) = ask(port, path="/v2/models/pets")[1]["versions"]
    return str(found)


def test_a_model_that_is_none_ends_it_before_it_listens() -> None:
    with Server("--model", "no_such_model") as server:
        assert server.wait() == 2
        assert "no model 'no_such_model'" in server.messages[0]


def test_the_server_tells_where_it_serves_and_what_to_do_next() -> None:
    with Server("--host", "localhost") as server:
        ready = server.ready()
        assert ready["models"] == [
            {
                "name": "ghostnet_x1_0",
                "version": ready["models"][0]["version"],
                "engine": "onnxruntime",
                "precision": "fp16",
                "batch": 1,
            }
        ]
        assert label(ready["http"])
        server.send(signal.SIGINT)
        assert server.wait() == 0
        assert server.messages[1:3] == [
            f"http://localhost:{ready['http']} (REST, bRPC)\n",
            f"next: curl --data-binary @PHOTO http://localhost:{ready['http']}/predict\n",
        ]


AS_ON_WINDOWS = """
import sys
import types
import ghostclas.serve.worker as worker

class WindowsSys(types.ModuleType):
    platform = "win32"

    def __getattr__(self, name):
        return getattr(sys, name)

worker.sys = WindowsSys("sys")
"""


def test_one_process_needs_nothing_of_posix_to_serve_and_to_end() -> None:
    with Server(code=AS_ON_WINDOWS) as server:
        with Load(server.ready()["http"], clients=2) as load:
            load.answers(4)
            server.send(signal.SIGTERM)
            assert server.wait() == 0
        assert set(load.statuses) <= {200, 503}
        assert (load.errors, load.wrong) == ([], [])


def test_a_thread_gives_its_result_or_its_error() -> None:
    def fail() -> None:
        raise ValueError("no")

    assert asyncio.run(in_thread(lambda: threading.current_thread().daemon))
    with pytest.raises(ValueError, match="no"):
        asyncio.run(in_thread(fail))
    assert len(jpeg()) > 0
