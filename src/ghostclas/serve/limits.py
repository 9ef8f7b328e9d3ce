"""Every bound of the server, in one frozen value."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, fields
from typing import Any, Self

from ghostclas.errors import UsageError, did_you_mean

MIB = 2**20


@dataclass(frozen=True, slots=True)
class Limits:
    """What one serving process accepts; beyond it, a request is refused before it costs anything.

    Attributes:
        queue_images: images that wait for a thread.
        queue_bytes: bytes of the images that wait.
        request_images: images in one request.
        request_seconds: from a request's arrival to its answer, where the client asks for no less.
        hang_seconds: one batch; a process with a longer one ends, so that another replaces it.
        grace_seconds: from the first SIGTERM to the end.
        connections: open sockets of each protocol.
        header_bytes: the request line and the headers of HTTP/1.1, and gRPC's metadata.
        header_lines: headers of one HTTP request.
        body_bytes: a body or message, declared or not, and also what it inflates to.
        tensor_bytes: one tensor; checked before it is allocated.
        json_depth: nested arrays and objects.
        parts: parts of a multipart body.
        header_seconds: from the first byte of a request to the end of its headers.
        body_seconds: from the end of the headers to the end of the body.
        idle_seconds: a connection without a request.
        write_seconds: an answer that the client does not read.
    """

    queue_images: int = 256
    queue_bytes: int = 256 * MIB
    request_images: int = 64
    request_seconds: float = 30.0
    hang_seconds: float = 60.0
    grace_seconds: float = 30.0
    connections: int = 1000
    header_bytes: int = 16 * 1024
    header_lines: int = 100
    body_bytes: int = 32 * MIB
    tensor_bytes: int = 32 * MIB
    json_depth: int = 32
    parts: int = 64
    header_seconds: float = 10.0
    body_seconds: float = 30.0
    idle_seconds: float = 60.0
    write_seconds: float = 30.0

    def __post_init__(self) -> None:
        for field in fields(self):
            value = getattr(self, field.name)
            if not 0 < value < float("inf"):
                raise UsageError(f"the limit {field.name} must be positive, got {value}")
        if self.request_images > self.queue_images:
            raise UsageError(
                f"request_images is {self.request_images}, and no more than queue_images "
                f"({self.queue_images}) could ever wait; raise queue_images, too"
            )

    @classmethod
    def parse(cls, settings: Iterable[str]) -> Self:
        """Return the limits with some of them set: ``["body_bytes=1000000", ...]``.

        Raises:
            UsageError: there is no such limit (the nearest is offered), or its value is no positive number.
        """
        kinds = {field.name: int if field.type == "int" else float for field in fields(cls)}
        values: dict[str, Any] = {}
        for setting in settings:
            name, mark, text = setting.partition("=")
            if name not in kinds or not mark:
                near = did_you_mean(name, kinds) or f"; there are: {', '.join(kinds)}"
                raise UsageError(f"a limit is NAME=NUMBER, and {setting!r} names none{near}")
            try:
                values[name] = kinds[name](text)
            except ValueError:
                raise UsageError(f"the limit {name} is a number, not {text!r}") from None
        return cls(**values)
