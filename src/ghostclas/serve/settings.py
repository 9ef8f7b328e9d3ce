"""What ``ghostclas serve`` was asked for, in one frozen value that its worker processes get as JSON."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Self

from pydantic import TypeAdapter

from ghostclas.errors import UsageError
from ghostclas.processor import usable_cores
from ghostclas.serve.limits import Limits
from ghostclas.serve.opening import Opening
from ghostclas.serve.security import Security

MOST_WORKERS = 64


@dataclass(frozen=True, slots=True)
class Settings:
    """A server.

    Attributes:
        models: what to serve, a word as ``zoo.locate`` reads it, by name; the first is the default.
        host: the address on which all protocols listen.
        http: the port of HTTP, and of bRPC on it; 0 is any that is free.
        grpc: the port of gRPC; ``None`` is none.
        brpc: a port of bRPC's own; ``None`` is none.
        engine: the runtime's name, or ``auto``.
        precision: of the file or the arithmetic.
        cores: how many cores all workers use together; ``None`` is all.
        batch: how many images are run at once at most; ``None`` measures it.
        workers: processes.
        limits: of each process.
        security: what clients must bring.
        access_log: write a line for each request.
    """

    models: Mapping[str, str]
    host: str = "127.0.0.1"
    http: int = 8000
    grpc: int | None = 8001
    brpc: int | None = None
    engine: str = "auto"
    precision: str | None = None
    cores: int | None = None
    batch: int | None = None
    workers: int = 1
    limits: Limits = field(default_factory=Limits)
    security: Security = field(default_factory=Security)
    access_log: bool = True

    def __post_init__(self) -> None:
        ranges = (
            ("--http", self.http, 0, 65535),
            ("--grpc", self.grpc, 0, 65535),
            ("--brpc", self.brpc, 0, 65535),
            ("--workers", self.workers, 1, MOST_WORKERS),
            ("--threads", self.cores, 1, None),
            ("--batch-size", self.batch, 1, self.limits.queue_images),
        )
        for option, value, least, most in ranges:
            if value is not None and (value < least or (most is not None and value > most)):
                allowed = f"{least} to {most}" if most is not None else f"at least {least}"
                raise UsageError(f"{option} is {allowed}, got {value}")
        ports = [port for port in (self.http, self.grpc, self.brpc) if port]
        if len(set(ports)) != len(ports):
            raise UsageError(f"each protocol needs a port of its own, got {', '.join(map(str, ports))}")

    @property
    def opening(self) -> Opening:
        """How each worker opens the models."""
        cores = max(1, (self.cores or usable_cores()) // self.workers)
        return Opening(self.engine, self.precision, cores, self.batch)

    def to_json(self) -> bytes:
        """Return it as JSON, the token included."""
        return _ADAPTER.dump_json(self)

    @classmethod
    def from_json(cls, content: bytes) -> Self:
        """Return what ``to_json`` wrote."""
        return _ADAPTER.validate_json(content)  # type: ignore[return-value]


_ADAPTER = TypeAdapter(Settings)
