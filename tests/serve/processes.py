"""``ghostclas serve`` in processes of its own, and clients that load it."""

from __future__ import annotations

import http.client
import json
import os
import queue
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from tests.serve.served import SECONDS, jpeg

ROOT = Path(__file__).parents[2]


class Server:
    """A server in a session of its own. Leaving it kills what is left of it."""

    def __init__(self, *arguments: str | Path, code: str = "", grpc: bool = False) -> None:
        program = f"{code}\nfrom ghostclas.cli import main; import sys; sys.exit(main())"
        options = ["--http", "0", "--engine", "onnxruntime", "--batch-size", "1"]
        options += ["--grpc", "0"] if grpc else ["--no-grpc"]
        self.process = subprocess.Popen(
            [sys.executable, "-c", program, "serve", *options, *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            stdin=subprocess.DEVNULL,
            text=True,
            encoding="utf-8",
            cwd=ROOT,
            start_new_session=True,
            env={**os.environ, "OMP_NUM_THREADS": "1"},
        )
        self.messages: list[str] = []
        self.lines: list[dict[str, Any]] = []
        self._events: queue.Queue[str] = queue.Queue()
        self._readers = [
            threading.Thread(target=self._read, args=(stream, take))
            for stream, take in (
                (self.process.stdout, lambda line: self.lines.append(json.loads(line))),
                (self.process.stderr, self.messages.append),
            )
        ]
        for reader in self._readers:
            reader.start()

    def _read(self, stream: Any, take: Callable[[str], None]) -> None:
        for line in stream:
            take(line)
            self._events.put(line)
        self._events.put("")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for process in self.processes():
            os.kill(process, signal.SIGKILL)
        self.process.wait(SECONDS)
        for reader in self._readers:
            reader.join(SECONDS)
        for stream in (self.process.stdout, self.process.stderr):
            assert stream is not None
            stream.close()

    def until(self, words: str, times: int = 1) -> None:
        """Wait for so many more lines that hold these words."""
        seen = 0
        while seen < times:
            line = self._events.get(timeout=SECONDS)
            if not line and self.process.poll() is not None:
                raise AssertionError(f"the server ended before it said {words!r}: {self.messages}")
            seen += words in line

    def ready(self) -> dict[str, Any]:
        """Wait until it serves, and return what it says of itself."""
        self.until('"event": "ready"')
        return next(line for line in self.lines if line.get("event") == "ready")

    def send(self, number: signal.Signals) -> None:
        """Send a signal to the process that was started."""
        self.process.send_signal(number)

    def wait(self) -> int:
        """Wait for the end; return the exit code, after a look that nothing is left."""
        code = self.process.wait(SECONDS)
        for reader in self._readers:
            reader.join(SECONDS)
            assert not reader.is_alive(), "a process that was left behind holds the server's output"
        # A process that is being killed closes its output some time before it has ended.
        until = time.monotonic() + SECONDS
        while left := self.processes():
            assert time.monotonic() < until, f"left behind: {left}"
            time.sleep(0.01)
        return code

    def processes(self) -> list[int]:
        """The processes of its session that have not ended."""
        found = []
        for entry in Path("/proc").iterdir():
            try:
                state, _, _, session = entry.joinpath("stat").read_text().rpartition(") ")[2].split()[:4]
            except (OSError, ValueError):
                continue
            if session == str(self.process.pid) and state != "Z":
                found.append(int(entry.name))
        return found


def ask(port: int, method: str = "GET", path: str = "/v2", body: bytes | None = None) -> tuple[int, Any]:
    """Return the status and the JSON of one request on a connection of its own."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=SECONDS)
    try:
        connection.request(method, path, body)
        response = connection.getresponse()
        content = response.read()
        return response.status, json.loads(content) if content else None
    finally:
        connection.close()


def label(port: int, seed: int = 0) -> Any:
    """Return the best label of a photo."""
    status, answer = ask(port, "POST", "/predict", jpeg(seed))
    assert status == 200, answer
    return answer["top"][0]["label"]


class Load:
    """Clients that ask one after the other until told to stop, each on a connection that it keeps.

    ``statuses`` counts the answers, and ``errors`` the connections that broke while a request was on its way.
    A client ends when nobody listens any more.
    """

    def __init__(self, port: int, clients: int = 4) -> None:
        self.statuses: Counter[int] = Counter()
        self.errors: list[str] = []
        self.wrong: list[object] = []
        self.refused = 0
        self._port = port
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._answered = threading.Condition(self._lock)
        self._threads = [threading.Thread(target=self._run, args=(seed,)) for seed in range(clients)]

    def __enter__(self) -> Self:
        self._expected = {seed: label(self._port, seed) for seed in range(len(self._threads))}
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(SECONDS)

    def answers(self, count: int) -> None:
        """Wait for so many more answers of status 200."""
        with self._answered:
            goal = self.statuses[200] + count
            assert self._answered.wait_for(lambda: self.statuses[200] >= goal, SECONDS)

    def _run(self, seed: int) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port, timeout=SECONDS)
        draining = False
        while not self._stop.is_set():
            fresh = connection.sock is None
            try:
                connection.request("POST", "/predict", jpeg(seed))
                response = connection.getresponse()
                content = json.loads(response.read())
            except ConnectionRefusedError:
                with self._lock:
                    self.refused += 1
                break
            except (OSError, http.client.HTTPException) as error:
                connection.close()
                if draining and fresh:
                    # It came as the socket was closed: nobody had accepted it.
                    break
                with self._lock:
                    self.errors.append(f"{type(error).__name__}: {error}")
                continue
            draining = draining or response.status == 503
            with self._answered:
                self.statuses[response.status] += 1
                if response.status == 200 and content["top"][0]["label"] != self._expected[seed]:
                    self.wrong.append((seed, content))
                self._answered.notify_all()
        connection.close()
