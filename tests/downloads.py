"""A server on this machine whose connections break when they are told to."""

from __future__ import annotations

import hashlib
import socket
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

CONTENT = hashlib.sha256(b"seed").digest() * 40_000


class Server(ThreadingHTTPServer):
    """Serves ``content``; breaks the connection after each of ``breaks`` bytes, one a request."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.content = CONTENT
        self.breaks: list[int] = []
        self.statuses: list[int] = []
        self.announces_length = True
        self.asked = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_port}/weights.pdparams"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        server = self.server
        server.asked += 1
        if server.statuses:
            self.send_error(server.statuses.pop(0))
            return
        self.send_response(200)
        if server.announces_length:
            self.send_header("Content-Length", str(len(server.content)))
        self.end_headers()
        if server.breaks:
            self.wfile.write(server.content[: server.breaks.pop(0)])
            self.wfile.flush()
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
        else:
            self.wfile.write(server.content)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Keep the tests' stderr for what is tested."""
