"""The gRPC server: ``grpc.aio`` in the event loop of the other protocols."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import grpc
from grpc import aio

from ghostclas.serve.access_log import Record
from ghostclas.serve.grpc import health, inference, paddle, reflection
from ghostclas.serve.grpc.calls import Call, Site, unary
from ghostclas.serve.grpc.messages import HEALTH, INFERENCE, REFLECTIONS
from ghostclas.serve.grpc.messages import reflection as reflection_messages
from ghostclas.serve.limits import Limits
from ghostclas.serve.paddle import general_model, pipeline
from ghostclas.serve.security import Security
from ghostclas.serve.service import Service

SERVICES = (INFERENCE, HEALTH, general_model.SERVICE, pipeline.SERVICE, *REFLECTIONS)
"""The full names of what is served."""

_LAST_SECONDS = 5.0
_MILLISECONDS = 1000


class Running:
    """The server while it listens."""

    def __init__(self, server: aio.Server, port: int) -> None:
        self._server = server
        self.port = port

    async def drain(self, grace: float) -> None:
        """Take no more calls, and wait until each has its answer, for at most ``grace`` seconds.

        The service has drained by then: what is left are messages that do not end.
        """
        await self._server.stop(min(grace / 2, _LAST_SECONDS))

    async def close(self) -> None:
        """End at once."""
        await self._server.stop(None)


async def start(
    service: Service,
    limits: Limits,
    security: Security,
    *,
    host: str = "127.0.0.1",
    port: int = 0,
    reuse_port: bool = False,
    record: Callable[[Record], None] = lambda record: None,
) -> Running:
    """Serve gRPC on a port.

    Args:
        service: the models.
        limits: what is accepted.
        security: the token and the certificates.
        host: an address of this machine.
        port: 0 takes a free one.
        reuse_port: whether several processes listen on the port, and the kernel spreads the connections.
        record: is told of each call that ended.

    Raises:
        OSError: the port is taken.
    """
    server = aio.server(
        options=_options(limits, reuse_port),
        # A message is read once its call has a place, so that many calls hold few messages.
        maximum_concurrent_rpcs=max(limits.connections, 2 * limits.queue_images),
    )
    site = Site(service, limits, security, record)
    server.add_generic_rpc_handlers(tuple(_handlers(site)))
    address = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    certificates = security.certificates()
    try:
        if certificates is None:
            bound = server.add_insecure_port(address)
        else:
            credentials = grpc.ssl_server_credentials(
                [(certificates.key, certificates.chain)],
                root_certificates=certificates.client_authorities,
                require_client_auth=certificates.client_authorities is not None,
            )
            bound = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise OSError(f"gRPC cannot listen on {address}: {error}") from None
    await server.start()
    return Running(server, bound)


def _options(limits: Limits, reuse_port: bool) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", limits.body_bytes),
        ("grpc.max_send_message_length", -1),
        ("grpc.max_metadata_size", limits.header_bytes),
        ("grpc.absolute_max_metadata_size", limits.header_bytes),
        ("grpc.max_concurrent_streams", limits.queue_images),
        ("grpc.max_allowed_incoming_connections", limits.connections),
        ("grpc.max_connection_idle_ms", int(_MILLISECONDS * limits.idle_seconds)),
        ("grpc.server_handshake_timeout_ms", int(_MILLISECONDS * limits.header_seconds)),
        # A client whose machine is gone does not answer.
        ("grpc.keepalive_time_ms", int(_MILLISECONDS * limits.idle_seconds)),
        ("grpc.keepalive_timeout_ms", int(_MILLISECONDS * limits.write_seconds)),
        ("grpc.so_reuseport", int(reuse_port)),
    ]


def _handlers(site: Site) -> list[Any]:
    services: Mapping[str, Mapping[str, Any]] = {
        INFERENCE: {
            name: _unary(site, f"{INFERENCE}/{name}", method) for name, method in inference.METHODS.items()
        },
        HEALTH: {
            "Check": _unary(site, f"{HEALTH}/Check", health.check, open_to_all=True),
            "List": _unary(site, f"{HEALTH}/List", health.every, open_to_all=True),
            "Watch": grpc.unary_stream_rpc_method_handler(health.watch(site)),
        },
        general_model.SERVICE: {
            general_model.METHOD: _unary(site, general_model.SERVICE, paddle.general_inference),
        },
        pipeline.SERVICE: {pipeline.METHOD: _unary(site, pipeline.SERVICE, paddle.pipeline_inference)},
        **{
            name: {
                "ServerReflectionInfo": grpc.stream_stream_rpc_method_handler(
                    reflection.info(site, reflection_messages[name], SERVICES)
                )
            }
            for name in REFLECTIONS
        },
    }
    return [grpc.method_handlers_generic_handler(name, methods) for name, methods in services.items()]


def _unary(
    site: Site, method: str, handler: Callable[[Call, bytes], Any], *, open_to_all: bool = False
) -> Any:
    """Return the handler of a method. Without a parser gRPC hands over bytes, and we say what is wrong."""
    return grpc.unary_unary_rpc_method_handler(unary(site, method, handler, open_to_all=open_to_all))
