"""Listening sockets."""

from __future__ import annotations

import socket
import subprocess
import sys
from collections.abc import Callable

import pytest

from ghostclas.errors import UsageError
from ghostclas.serve.sockets import listen, port_of, reserve


def test_a_socket_listens_before_anybody_accepts() -> None:
    with listen("127.0.0.1", 0, "--http") as sock:
        with socket.create_connection(("127.0.0.1", port_of(sock))) as client:
            assert client.getpeername()[1] == port_of(sock)
        assert sock.getblocking() is False


@pytest.mark.parametrize("take", [listen, reserve])
def test_a_port_that_is_taken_is_refused_with_the_option_that_sets_it(
    take: Callable[[str, int, str], socket.socket],
) -> None:
    with listen("127.0.0.1", 0, "--http") as sock:
        port = port_of(sock)
        with pytest.raises(UsageError) as caught:
            take("127.0.0.1", port, "--grpc")
    assert str(caught.value) == f"port {port} of 127.0.0.1 is taken; choose another: --grpc PORT"


def test_a_reserved_port_takes_no_connection_and_is_shared_with_those_who_share_it() -> None:
    with reserve("127.0.0.1", 0, "--grpc") as kept:
        port = port_of(kept)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))
        with socket.socket() as server:
            server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
            server.bind(("127.0.0.1", port))
            server.listen()
            socket.create_connection(("127.0.0.1", port)).close()
            # Another server of this kind does not share it unasked.
            with pytest.raises(UsageError, match="is taken"):
                reserve("127.0.0.1", port, "--grpc")


def test_an_address_that_is_none_is_refused() -> None:
    for host in ("no such host.invalid", "192.0.2.1", "a" * 300):
        with pytest.raises(UsageError):
            listen(host, 0, "--http")


def test_ipv6_is_an_address_too() -> None:
    with listen("::1", 0, "--http") as sock, socket.create_connection(("::1", port_of(sock))):
        assert sock.family == socket.AF_INET6


def test_a_process_may_open_as_many_files_as_it_needs_and_the_system_allows() -> None:
    program = """
import resource
from ghostclas.serve.sockets import allow_open_files
resource.setrlimit(resource.RLIMIT_NOFILE, (100, 400))
for count in (50, 300, 9999):
    allow_open_files(count)
    print(resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert done.stdout.split() == ["100", "300", "400"], done.stderr
