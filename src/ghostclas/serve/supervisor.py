"""Several worker processes on the same ports, replaced when they die.

The supervisor makes the listening sockets, and every worker inherits them. So connections that no worker has
accepted yet survive the worker, and wait while none is there. gRPC's runtime takes no socket: each worker
listens by itself on a port that the supervisor keeps.

A worker that ends by itself is replaced, at once the first time and later with growing delays. Where none can
be kept alive, the supervisor ends with an error instead of trying for ever. A worker that says nothing for
``limits.hang_seconds`` is killed. Workers end with the supervisor, even if that is killed.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections import deque
from collections.abc import Callable
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any

from ghostclas.serve.metrics import DIRECTORY, forget_worker
from ghostclas.serve.notices import notice
from ghostclas.serve.settings import Settings
from ghostclas.serve.sockets import listen, port_of, reserve
from ghostclas.serve.worker import Ready, tell
from ghostclas.volume import volume

assert sys.platform != "win32", "several workers need a POSIX system"

CRASH_LOOP = 1
"""The exit code of a supervisor whose workers cannot be kept alive."""

_ENDS = 5
"""So many ends of each worker ..."""
_WITHIN = 60.0
"""... in so many seconds are a crash loop, once no worker is left."""

_FIRST_DELAY, _LONGEST_DELAY = 0.25, 10.0
_SETTLED = 10.0
"""Seconds after which a worker that ends has not failed at its start."""
_STARTING = 120.0
"""Seconds from a worker's start to the first that it says of itself."""
_MARGIN = 5.0
"""Seconds that a worker gets beyond its own limits."""
_CODE = "from ghostclas.serve.worker import main; main()"


def supervise(settings: Settings) -> int:
    """Serve in ``settings.workers`` processes until a signal ends them; see ``ghostclas.serve.serve``."""
    with ExitStack() as held:
        http = held.enter_context(listen(settings.host, settings.http, "--http"))
        brpc = grpc = None
        if settings.brpc is not None:
            brpc = held.enter_context(listen(settings.host, settings.brpc, "--brpc"))
        if settings.grpc is not None:
            grpc = held.enter_context(reserve(settings.host, settings.grpc, "--grpc"))
        figures = held.enter_context(tempfile.TemporaryDirectory(prefix="ghostclas-metrics-"))
        return _Supervisor(settings, http, brpc, grpc, Path(figures)).run()


class _Slot:
    """The place of one worker."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.process: subprocess.Popen[bytes] | None = None
        self.status = -1
        self.unread = b""
        self.ready: Ready | None = None
        self.began = 0.0
        self.heard = 0.0
        self.spoke = False
        self.failures = 0
        self.start_at = 0.0


class _Supervisor:
    def __init__(
        self,
        settings: Settings,
        http: socket.socket,
        brpc: socket.socket | None,
        grpc: socket.socket | None,
        figures: Path,
    ) -> None:
        self._settings = settings
        self._http, self._brpc, self._grpc = http, brpc, grpc
        self._figures = figures
        self._slots = [_Slot(number) for number in range(settings.workers)]
        self._selector = selectors.DefaultSelector()
        self._ends: deque[float] = deque()
        self._stopping_since: float | None = None
        self._was_ready = False
        self._code = 0

    def run(self) -> int:
        with ExitStack() as held:
            held.enter_context(self._selector)
            self._listen_to_signals(held)
            held.callback(self._kill_all)
            while True:
                now = time.monotonic()
                for slot in self._slots:
                    self._look_after(slot, now)
                if self._stopping_since is not None and all(slot.process is None for slot in self._slots):
                    return self._code
                for key, _ in self._selector.select(self._pause(now)):
                    key.data()

    # ------------------------------------------------------------------ signals

    def _listen_to_signals(self, held: ExitStack) -> None:
        heard, sent = socket.socketpair()
        for end in (heard, sent):
            end.setblocking(False)
            held.enter_context(end)
        held.callback(signal.set_wakeup_fd, signal.set_wakeup_fd(sent.fileno(), warn_on_full_buffer=False))
        actions: dict[int, Callable[[], None]] = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._reload,
            signal.SIGCHLD: lambda: None,
        }
        for number in actions:
            held.callback(signal.signal, number, signal.signal(number, lambda *_: None))

        def act() -> None:
            with suppress(BlockingIOError):
                for number in heard.recv(1024):
                    actions.get(number, lambda: None)()

        self._selector.register(heard, selectors.EVENT_READ, act)

    def _stop(self) -> None:
        if self._stopping_since is not None:
            notice("the second signal: what is not answered is cut off")
            self._code = 1
            self._send(signal.SIGKILL)
            return
        self._stopping_since = time.monotonic()
        self._send(signal.SIGTERM)

    def _reload(self) -> None:
        if self._stopping_since is None:
            self._send(signal.SIGHUP)

    def _send(self, number: signal.Signals) -> None:
        for slot in self._slots:
            if slot.process is not None:
                slot.process.send_signal(number)

    # ------------------------------------------------------------------ workers

    def _look_after(self, slot: _Slot, now: float) -> None:
        if slot.process is None:
            if self._stopping_since is None and now >= slot.start_at:
                self._start(slot, now)
            return
        code = slot.process.poll()
        if code is not None:
            self._ended(slot, code, now)
            return
        limits = self._settings.limits
        if self._stopping_since is not None:
            if now > self._stopping_since + limits.grace_seconds + _MARGIN:
                slot.process.kill()
        elif now > slot.heard + max(limits.hang_seconds + _MARGIN, 0.0 if slot.spoke else _STARTING):
            notice(f"worker {slot.number} (process {slot.process.pid}) has hung and is killed")
            slot.process.kill()

    def _start(self, slot: _Slot, now: float) -> None:
        status, theirs = os.pipe()
        sockets = [sock.fileno() for sock in (self._http, self._brpc) if sock is not None]
        try:
            # A group of its own: Ctrl-C in a terminal comes to the supervisor alone.
            slot.process = subprocess.Popen(  # noqa: S603 - our own module, on our own interpreter
                [sys.executable, "-P", "-c", _CODE],
                stdin=subprocess.PIPE,
                pass_fds=(*sockets, theirs),
                process_group=0,
                env={**os.environ, DIRECTORY: str(self._figures)},
            )
        finally:
            os.close(theirs)
        os.set_blocking(status, False)
        slot.status, slot.unread, slot.ready, slot.began, slot.heard = status, b"", None, now, now
        slot.spoke = False
        self._selector.register(status, selectors.EVENT_READ, lambda: self._hear(slot))
        job: dict[str, Any] = {
            "supervisor": os.getpid(),
            "settings": json.loads(self._settings.to_json()),
            "http": self._http.fileno(),
            "brpc": None if self._brpc is None else self._brpc.fileno(),
            "grpc": None if self._grpc is None else port_of(self._grpc),
            "status": theirs,
            "volume": volume().name,
        }
        assert slot.process.stdin is not None
        # Its end is seen elsewhere. The pipe stays open: the worker ends when it is closed.
        with suppress(BrokenPipeError):
            slot.process.stdin.write(json.dumps(job).encode() + b"\n")
            slot.process.stdin.flush()

    def _hear(self, slot: _Slot) -> None:
        try:
            content = os.read(slot.status, 65536)
        except BlockingIOError:
            return
        if not content:
            self._selector.unregister(slot.status)
            return
        slot.heard, slot.spoke = time.monotonic(), True
        *lines, slot.unread = (slot.unread + content).split(b"\n")
        for line in lines:
            slot.ready = json.loads(line).get("ready", slot.ready)
        if not self._was_ready and all(other.ready for other in self._slots):
            self._was_ready = True
            ready = slot.ready
            assert ready is not None
            tell(self._settings, ready)
            if self._settings.access_log:
                sys.stdout.write(json.dumps({"event": "ready", **ready, "workers": self._pids()}) + "\n")
                sys.stdout.flush()

    def _pids(self) -> list[int]:
        return [slot.process.pid for slot in self._slots if slot.process is not None]

    def _ended(self, slot: _Slot, code: int, now: float) -> None:
        process = slot.process
        assert process is not None
        assert process.stdin is not None
        with suppress(BrokenPipeError):
            process.stdin.close()
        with suppress(KeyError):
            self._selector.unregister(slot.status)
        os.close(slot.status)
        was_ready, slot.process, slot.ready = slot.ready is not None, None, None
        forget_worker(process.pid, self._figures)
        if self._stopping_since is not None:
            # One that had not begun to serve may not have known the signal yet, and loses nothing.
            unharmed = code == 0 or (code == -signal.SIGTERM and not was_ready)
            self._code = self._code or int(not unharmed)
            return
        self._ends.append(now)
        while self._ends[0] < now - _WITHIN:
            self._ends.popleft()
        alive = any(other.ready for other in self._slots)
        if not self._was_ready and 1 < code < 8:
            # It has said why, and the next would say the same.
            self._give_up(code, now)
        elif not alive and len(self._ends) >= _ENDS * len(self._slots):
            notice(
                f"error: the workers ended {len(self._ends)} times in {_WITHIN:.0f} seconds, the last time "
                f"by {_how(code)}; nothing serves any more"
            )
            self._give_up(CRASH_LOOP, now)
        else:
            slot.failures = 0 if was_ready and now - slot.began > _SETTLED else slot.failures + 1
            delay = 0.0 if slot.failures < 2 else _FIRST_DELAY * 2 ** (slot.failures - 2)
            slot.start_at = now + min(delay, _LONGEST_DELAY)
            when = f"in {slot.start_at - now:g} seconds" if slot.start_at > now else "now"
            notice(
                f"worker {slot.number} (process {process.pid}) ended by {_how(code)}; another starts {when}"
            )

    def _give_up(self, code: int, now: float) -> None:
        self._code = code
        self._stopping_since = now
        self._send(signal.SIGTERM)

    def _pause(self, now: float) -> float:
        """Return for how long nothing is due."""
        waiting = [slot.start_at - now for slot in self._slots if slot.process is None]
        return max(0.0, min([1.0, *waiting]))

    def _kill_all(self) -> None:
        """Leave no worker behind, whatever ended the supervisor."""
        for slot in self._slots:
            if slot.process is not None:
                slot.process.kill()
                slot.process.wait()


def _how(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"
