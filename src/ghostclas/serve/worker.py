"""One serving process: all protocols in one event loop, beside the threads that compute.

The first SIGTERM (or Ctrl-C) makes it unready and drains it: what was accepted is answered, what comes is
refused with DRAINING, and the process ends with 0. A second one, or the end of the grace period, ends it at
once. SIGHUP opens the models anew. A batch that hangs ends the process, so that another can take its place.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import signal
import socket
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from typing import Any, TypeVar

from ghostclas.errors import GhostclasError, UsageError
from ghostclas.serve.access_log import AccessLog, Record
from ghostclas.serve.metrics import Metrics
from ghostclas.serve.model import ServedModel
from ghostclas.serve.notices import FailureReport, note, notice
from ghostclas.serve.opening import open_model
from ghostclas.serve.reload import Reloader
from ghostclas.serve.running import Running
from ghostclas.serve.security import exposure
from ghostclas.serve.service import Service
from ghostclas.serve.settings import Settings
from ghostclas.serve.sockets import allow_open_files, listen
from ghostclas.volume import Volume, changing_volume

T = TypeVar("T")
Ready = Mapping[str, Any]
"""What a process that serves tells of itself: its ports by protocol, and its models."""

HUNG = 70
"""The exit code of a process that ended itself because a batch hung."""

_FORCED = 1
_TICK = 1.0
_PROTOCOLS = 3
_OTHER_FILES = 256
"""Files of bundles, libraries and threads, beside the connections of three protocols."""

_PR_SET_PDEATHSIG = 1


@dataclass(frozen=True)
class Listeners:
    """Where a process listens.

    Attributes:
        http: the socket of HTTP.
        brpc: the socket of bRPC's own port, if it has one.
        grpc: the port of gRPC, if it is served.
        shared: other processes listen on these, too.
    """

    http: socket.socket
    brpc: socket.socket | None
    grpc: int | None
    shared: bool = False


def run_alone(settings: Settings) -> int:
    """Serve in this process alone until a signal ends it; return the exit code.

    Raises:
        GhostclasError: it cannot start.
    """
    listeners = Listeners(
        http=listen(settings.host, settings.http, "--http"),
        brpc=None if settings.brpc is None else listen(settings.host, settings.brpc, "--brpc"),
        grpc=settings.grpc,
    )
    log = AccessLog(sys.stdout) if settings.access_log else None

    def announce(ready: Ready) -> None:
        tell(settings, ready)
        if log is not None:
            log.event(event="ready", **ready)

    return _run(settings, listeners, log, announce, lambda: None, signal.SIGINT, signal.SIGTERM)


def main() -> None:
    """Serve as one of several workers: the settings come as one line on standard input.

    The rest of the input ends when the supervisor does, and this process with it.
    """
    if sys.platform == "win32":
        raise RuntimeError("several workers need a POSIX system")
    job = json.loads(sys.stdin.buffer.readline())
    _die_with(job["supervisor"])
    settings = Settings.from_json(json.dumps(job["settings"]).encode())
    status: int = job["status"]
    os.set_blocking(status, False)

    def tell_supervisor(message: Mapping[str, Any]) -> None:
        # A supervisor that reads nothing, or is gone, must not stop this process.
        with suppress(OSError):
            os.write(status, json.dumps(message).encode() + b"\n")

    # Ctrl-C is the supervisor's.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    log = AccessLog(sys.stdout) if settings.access_log else None
    listeners = Listeners(
        http=socket.socket(fileno=job["http"]),
        brpc=None if job["brpc"] is None else socket.socket(fileno=job["brpc"]),
        grpc=job["grpc"],
        shared=True,
    )
    with changing_volume(notice) as change:
        change(Volume[job["volume"]])
        try:
            code = _run(
                settings,
                listeners,
                log,
                lambda ready: tell_supervisor({"ready": ready}),
                lambda: tell_supervisor({}),
                signal.SIGTERM,
            )
        except GhostclasError as error:
            notice(f"error: {error}")
            code = error.exit_code
    end_at_once(code)


def tell(settings: Settings, ready: Ready) -> None:
    """Tell people what serves, where, and the next useful command."""
    for model in ready["models"]:
        batch = f"batches of up to {model['batch']}" if model["batch"] > 1 else "no batches"
        note(
            f"serving {model['name']} (version {model['version']}) in {model['engine']}, "
            f"{model['precision']}, {batch}"
        )
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    scheme = "https" if settings.security.tls else "http"
    others = [
        f"{protocol} on {host}:{ready[protocol]}" for protocol in ("grpc", "brpc") if ready.get(protocol)
    ]
    note(", ".join([f"{scheme}://{host}:{ready['http']} (REST, bRPC)", *others]))
    if warning := exposure(settings.host, settings.security):
        note(warning)
    header = " -H 'Authorization: Bearer TOKEN'" if settings.security.token else ""
    note(f"next: curl{header} --data-binary @PHOTO {scheme}://{host}:{ready['http']}/predict")


def _run(
    settings: Settings,
    listeners: Listeners,
    log: AccessLog | None,
    announce: Callable[[Ready], None],
    beat: Callable[[], None],
    *stopping: signal.Signals,
) -> int:
    try:
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            return runner.run(_serve(settings, listeners, log, announce, beat, stopping))
    finally:
        if log is not None:
            log.close()


def _loop_factory() -> Callable[[], asyncio.AbstractEventLoop] | None:
    if sys.platform == "win32" or find_spec("uvloop") is None:
        return None
    factory: Callable[[], asyncio.AbstractEventLoop] = import_module("uvloop").new_event_loop
    return factory


class _Signals:
    """The signals of this process, for its loop. The second that stops ends the process at once."""

    def __init__(self, stopping: tuple[signal.Signals, ...]) -> None:
        self.stop = asyncio.Event()
        self.reload = asyncio.Event()
        loop = asyncio.get_running_loop()
        for one in stopping:
            if sys.platform == "win32":
                signal.signal(one, lambda *_: loop.call_soon_threadsafe(self._stop))
            else:
                loop.add_signal_handler(one, self._stop)
        if sys.platform != "win32":
            loop.add_signal_handler(signal.SIGHUP, self.reload.set)

    def _stop(self) -> None:
        if self.stop.is_set():
            notice("the second signal: what is not answered is cut off")
            end_at_once(_FORCED)
        self.stop.set()


def end_at_once(code: int) -> None:
    """End this process without waiting for threads that compute."""
    for stream in (sys.stdout, sys.stderr):
        with suppress(OSError, ValueError):
            stream.flush()
    os._exit(code)


async def _serve(
    settings: Settings,
    listeners: Listeners,
    log: AccessLog | None,
    announce: Callable[[Ready], None],
    beat: Callable[[], None],
    stopping: tuple[signal.Signals, ...],
) -> int:
    signals = _Signals(stopping)
    allow_open_files(_PROTOCOLS * settings.limits.connections + _OTHER_FILES)
    beating = asyncio.create_task(_every(_TICK, beat))
    stop = asyncio.create_task(signals.stop.wait())
    opening = asyncio.create_task(in_thread(lambda: _open_all(settings)))
    await asyncio.wait([opening, stop], return_when=asyncio.FIRST_COMPLETED)
    if not opening.done():
        # Nothing was accepted yet, and opening may take minutes.
        note("stopped before it served")
        end_at_once(0)
    metrics = Metrics()
    opened = opening.result()
    service = Service(
        opened,
        settings.limits,
        threads=max(settings.opening.threads(model.engine) for model in opened),
        observe=metrics.batch,
        report=FailureReport(),
    )

    def look() -> None:
        metrics.look_at(service, log.dropped if log is not None else 0)
        if service.hung:
            notice(
                f"error: a batch has taken over {settings.limits.hang_seconds:g} seconds; the process ends"
            )
            end_at_once(HUNG)

    def record(entry: Record) -> None:
        metrics.request(entry)
        if log is not None:
            log.write(entry)

    def page() -> Any:
        look()
        return metrics.page()

    protocols = await _listen(settings, listeners, service, record, page)
    watching = asyncio.create_task(_every(min(_TICK, settings.limits.hang_seconds / 4), look))
    reloader = Reloader(
        service,
        settings.models,
        settings.opening,
        lambda name, changed: metrics.reload(name, changed=changed),
    )
    reloading = asyncio.create_task(_reload_on(signals.reload, reloader))
    # What is here now stays until the end: a full collection would visit it all, and requests would wait.
    gc.collect()
    gc.freeze()
    look()
    models = [
        {
            "name": model.name,
            "version": model.version,
            "engine": model.engine,
            "precision": model.precision,
            "batch": model.batch,
        }
        for model in map(service.model, service.names)
    ]
    announce({**{name: protocol.port for name, protocol in protocols.items()}, "models": models})
    await stop
    note(f"draining: {service.pending} requests are answered before the end")
    complete = await _drain(service, list(protocols.values()), settings.limits.grace_seconds)
    for task in (beating, watching, reloading):
        task.cancel()
    if not service.close():
        end_at_once(_FORCED)
    return 0 if complete else _FORCED


def _open_all(settings: Settings) -> list[ServedModel]:
    opened: list[ServedModel] = []
    try:
        for name, where in settings.models.items():
            opened.append(open_model(name, where, settings.opening))
    except BaseException:
        for model in opened:
            model.close()
        raise
    return opened


async def _listen(
    settings: Settings,
    listeners: Listeners,
    service: Service,
    record: Callable[[Record], None],
    page: Callable[[], Any],
) -> dict[str, Running]:
    """Start the protocols; where one cannot start, none goes on."""
    common = (service, settings.limits, settings.security)
    running: dict[str, Running] = {}
    try:
        running["http"] = await _start("http", *common, sock=listeners.http, record=record, metrics=page)
        if listeners.brpc is not None:
            running["brpc"] = await _start("brpc", *common, sock=listeners.brpc, record=record)
        if listeners.grpc is not None:
            running["grpc"] = await _start(
                "grpc",
                *common,
                host=settings.host,
                port=listeners.grpc,
                reuse_port=listeners.shared,
                record=record,
            )
    except BaseException:
        for protocol in running.values():
            await protocol.close()
        raise
    return running


async def _start(protocol: str, *arguments: Any, **options: Any) -> Running:
    try:
        server = import_module(f"ghostclas.serve.{protocol}.server")
        running: Running = await server.start(*arguments, **options)
    except OSError as error:
        raise UsageError(
            f"{protocol} cannot be served: {error}; choose another port: --{protocol} PORT"
        ) from None
    return running


async def _drain(service: Service, protocols: list[Running], grace: float) -> bool:
    """Answer what was accepted; return whether that was done within ``grace`` seconds."""
    loop = asyncio.get_running_loop()
    until = loop.time() + grace
    try:
        async with asyncio.timeout_at(until):
            # Those who ask meanwhile are told so, since the protocols still listen.
            await service.drain()
            left = max(0.0, until - loop.time())
            await asyncio.gather(*(protocol.drain(left) for protocol in protocols))
        complete = not service.pending
    except TimeoutError:
        complete = False
    if not complete:
        notice(f"the grace period of {grace:g} seconds is over: {service.pending} requests are cut off")
    await asyncio.gather(*(protocol.close() for protocol in protocols), return_exceptions=True)
    return complete


async def _reload_on(asked: asyncio.Event, reloader: Reloader) -> None:
    while True:
        await asked.wait()
        asked.clear()
        await reloader.reload()


async def _every(seconds: float, call: Callable[[], None]) -> None:
    while True:
        call()
        await asyncio.sleep(seconds)


async def in_thread(function: Callable[[], T]) -> T:
    """Return what ``function`` returns in a thread that does not keep the process from ending."""
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: T | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(result)  # type: ignore[arg-type]

    def run() -> None:
        outcome: tuple[T | None, BaseException | None]
        try:
            outcome = (function(), None)
        except BaseException as error:  # raised again by whoever waits
            outcome = (None, error)
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(settle, *outcome)

    threading.Thread(target=run, name="ghostclas-opening", daemon=True).start()
    return await future


def _die_with(supervisor: int) -> None:
    """End this process when the supervisor does, even if it was killed."""
    if sys.platform == "linux":
        import ctypes

        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != supervisor:
        os._exit(_FORCED)

    def wait() -> None:
        # Systems other than Linux tell by the end of the input alone.
        # Not through ``sys.stdin``, whose lock the interpreter needs to end.
        with suppress(OSError):
            while os.read(0, 1024):
                pass
        os._exit(_FORCED)

    threading.Thread(target=wait, name="ghostclas-supervisor", daemon=True).start()
