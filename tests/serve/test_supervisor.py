"""Several workers, and what keeps them alive."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import sys
from pathlib import Path

import grpc
import pytest

from ghostclas.bundle import Bundle, copy_bundle, update_manifest
from ghostclas.serve.supervisor import CRASH_LOOP
from tests.serve.processes import Load, Server, ask, label
from tests.serve.served import SECONDS, builtin_bundle

pytestmark = pytest.mark.skipif(sys.platform == "win32", reason="several workers need a POSIX system")


def test_a_killed_worker_takes_its_own_requests_with_it_and_sigterm_none() -> None:
    with Server("--workers", "2") as server:
        ready = server.ready()
        port, (first, second) = ready["http"], ready["workers"]
        assert sorted(server.processes()) == sorted([server.process.pid, first, second])
        with Load(port, clients=4) as load:
            load.answers(10)
            os.kill(first, signal.SIGKILL)
            server.until(f"(process {first}) ended by SIGKILL; another starts now")
            load.answers(10)
            # The one that came instead serves alone, once the other is gone.
            while len(server.processes()) < 3 or first in server.processes():
                load.answers(1)
            os.kill(second, signal.SIGKILL)
            server.until(f"(process {second}) ended by SIGKILL; another starts now")
            load.answers(20)
            assert set(load.statuses) == {200}
            # Each client has at most one request on its way at each kill.
            broken = len(load.errors)
            assert broken <= 8
            server.send(signal.SIGTERM)
            assert server.wait() == 0
        assert set(load.statuses) <= {200, 503}
        assert (len(load.errors), load.wrong) == (broken, [])


@pytest.mark.parametrize("workers", ["1", "2"])
def test_quiet_leaves_the_access_log_and_the_errors(workers: str, tmp_path: Path) -> None:
    bundle = copy_bundle(builtin_bundle(), tmp_path / "pets")
    with Server("--quiet", "--workers", workers, "--model", f"pets={bundle.path}") as server:
        assert label(server.ready()["http"])
        (bundle.path / "model.onnx").write_bytes(b"damaged")
        server.send(signal.SIGHUP)
        server.until("error: pets is not reloaded", times=int(workers))
        server.send(signal.SIGTERM)
        assert server.wait() == 0
    assert [line["event"] for line in server.lines if "event" in line] == ["ready"]
    assert len(server.messages) == int(workers)


def test_all_protocols_are_served_by_all_workers() -> None:
    with Server("--workers", "2", "--brpc", "0", grpc=True) as server:
        ready = server.ready()
        assert len({ready[protocol] for protocol in ("http", "grpc", "brpc")}) == 3
        for worker in ready["workers"]:
            assert is_live(ready["grpc"])
            brpc = socket.create_connection(("127.0.0.1", ready["brpc"]))
            # An unknown magic ends the connection: a worker has read it.
            brpc.sendall(b"none of bRPC's")
            assert brpc.recv(1) == b""
            brpc.close()
            assert label(ready["http"])
            # The other serves alone until this one is replaced.
            os.kill(worker, signal.SIGKILL)
            server.until(f"(process {worker}) ended by SIGKILL")
        server.send(signal.SIGTERM)
        assert server.wait() == 0


def is_live(port: int) -> bool:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/inference.GRPCInferenceService/ServerLive")
        # ServerLiveResponse: field 1, true.
        return bool(call(b"", timeout=SECONDS, wait_for_ready=True) == b"\x08\x01")


def test_workers_die_with_a_supervisor_that_is_killed() -> None:
    with Server("--workers", "2") as server:
        server.ready()
        server.send(signal.SIGKILL)
        assert server.wait() == -signal.SIGKILL


def test_a_second_signal_kills_the_workers() -> None:
    with Server("--workers", "2") as server:
        workers = server.ready()["workers"]
        for worker in workers:
            # It answers no signal but SIGKILL any more.
            os.kill(worker, signal.SIGSTOP)
        server.send(signal.SIGTERM)
        server.send(signal.SIGINT)
        server.until("the second signal")
        assert server.wait() == 1


@pytest.mark.slow
def test_a_worker_that_says_nothing_is_killed_and_replaced() -> None:
    code = "import ghostclas.serve.supervisor as s; s._MARGIN = 0.5"
    with Server("--workers", "2", "--limit", "hang_seconds=3", code=code) as server:
        ready = server.ready()
        os.kill(ready["workers"][0], signal.SIGSTOP)
        server.until(f"(process {ready['workers'][0]}) has hung and is killed")
        server.until(f"(process {ready['workers'][0]}) ended by SIGKILL; another starts")
        assert label(ready["http"])
        server.send(signal.SIGTERM)
        assert server.wait() == 0


def test_a_bundle_that_cannot_be_served_ends_the_start_with_its_code(tmp_path: Path) -> None:
    bundle = copy_bundle(builtin_bundle(), tmp_path / "pets")
    (bundle.path / "model.onnx").write_bytes(b"x" * (bundle.path / "model.onnx").stat().st_size)
    with Server("--workers", "2", "--model", str(bundle.path)) as server:
        assert server.wait() == 4
        assert any("model.onnx is not the file that was exported" in line for line in server.messages)


@pytest.mark.slow
def test_workers_that_cannot_be_kept_alive_end_the_server(tmp_path: Path) -> None:
    bundle = copy_bundle(builtin_bundle(), tmp_path / "pets")
    code = "import ghostclas.serve.supervisor as s; s._ENDS = 2"
    with Server("--workers", "2", "--model", str(bundle.path), code=code) as server:
        workers = server.ready()["workers"]
        shutil.rmtree(bundle.path)
        for worker in workers:
            os.kill(worker, signal.SIGKILL)
        assert server.wait() == CRASH_LOOP
        assert "nothing serves any more" in server.messages[-1]


def test_a_reload_reaches_every_worker(tmp_path: Path) -> None:
    bundle = copy_bundle(builtin_bundle(), tmp_path / "pets")
    with Server("--workers", "2", "--model", f"pets={bundle.path}") as server:
        ready = server.ready()
        update_manifest(Bundle.open(bundle.path), provenance={"note": "another"})
        server.send(signal.SIGHUP)
        server.until("reloaded: pets", times=2)
        versions = {ask(ready["http"], path="/v2/models/pets")[1]["versions"][0] for _ in range(8)}
        assert len(versions) == 1
        assert versions != {ready["models"][0]["version"]}
        assert "ghostclas_ready_workers 2.0" in text(ready["http"])
        server.send(signal.SIGTERM)
        assert server.wait() == 0


def text(port: int) -> str:
    from urllib.request import urlopen

    with urlopen(f"http://127.0.0.1:{port}/metrics") as page:
        content: bytes = page.read()
    return content.decode()
