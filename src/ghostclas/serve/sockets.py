"""Listening sockets, which several processes may share."""

from __future__ import annotations

import errno
import os
import socket
import sys
from contextlib import suppress

from ghostclas.errors import UsageError

_BACKLOG = 1024


def listen(host: str, port: int, option: str) -> socket.socket:
    """Return a socket that listens on ``host`` and ``port``; port 0 is any that is free.

    Whoever inherits the socket accepts from the same queue. A process that dies takes no connection with it
    but those that it had accepted.

    Raises:
        UsageError: the port is taken or not allowed, or there is no such address; ``option`` sets it.
    """
    sock = _bound(host, port, option, shared=False)
    sock.listen(_BACKLOG)
    return sock


def reserve(host: str, port: int, option: str) -> socket.socket:
    """Return a socket that keeps a port for several processes, which each listen on it by themselves.

    It does not listen, so the system gives it no connection.

    Raises:
        UsageError: as ``listen``, or the system cannot share ports.
    """
    if sys.platform == "win32" or not hasattr(socket, "SO_REUSEPORT"):
        raise UsageError(
            "several workers cannot share gRPC's port on this system; use --workers 1 or --no-grpc"
        )
    # A port that another server shares would be shared with this one, too: so it must be free first.
    with _bound(host, port, option, shared=False) as free:
        port = port_of(free)
    return _bound(host, port, option, shared=True)


def port_of(sock: socket.socket) -> int:
    """Return the port of a bound socket."""
    return int(sock.getsockname()[1])


def allow_open_files(count: int) -> None:
    """Let this process have ``count`` files and sockets open, or as many as the system allows it.

    Most systems begin with 1,024 or fewer, and a process may raise that by itself.
    """
    if sys.platform == "win32":
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        # macOS has a lower bound that it does not tell.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


def _bound(host: str, port: int, option: str, *, shared: bool) -> socket.socket:
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
        sock = socket.socket(family, kind, protocol)
    except (OSError, UnicodeError) as error:
        raise UsageError(f"no address is called {host!r}: {_reason(error)}; see --host") from None
    try:
        if sys.platform != "win32":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        else:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_EXCLUSIVEADDRUSE, 1)
        if shared and sys.platform != "win32":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        sock.bind(address)
    except OSError as error:
        sock.close()
        if error.errno == errno.EADDRINUSE:
            raise UsageError(f"port {port} of {host} is taken; choose another: {option} PORT") from None
        raise UsageError(f"cannot listen on port {port} of {host}: {_reason(error)}; see {option}") from None
    sock.setblocking(False)
    return sock


def _reason(error: Exception) -> str:
    number = getattr(error, "errno", None)
    return getattr(error, "strerror", None) or (os.strerror(number) if number else str(error))
