"""What a protocol gives the process that serves it.

Each protocol has one coroutine, which returns when it listens:

- ``serve.http.server.start(service, limits, security, sock=..., record=..., metrics=...)``
- ``serve.grpc.server.start(service, limits, security, host=..., port=..., reuse_port=..., record=...)``
- ``serve.brpc.server.start(service, limits, security, sock=..., record=...)``

``sock`` is bound and listens already, and other processes may accept from it, too; gRPC's runtime takes no
socket. ``record`` is called once for each request that ended, with an ``access_log.Record``. ``metrics``
returns the page of ``/metrics``, a ``metrics.Page``.
"""

from __future__ import annotations

from typing import Protocol


class Running(Protocol):
    """One protocol that listens."""

    @property
    def port(self) -> int:
        """The port on which it listens."""

    async def drain(self, grace: float) -> None:
        """Stop listening, answer what clients have begun to send, and close their connections.

        ``service.draining`` is set before: what still comes is refused with DRAINING.

        Args:
            grace: seconds after which the rest is cut off.
        """

    async def close(self) -> None:
        """Cut off whatever is left, at once."""
