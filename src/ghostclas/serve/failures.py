"""Why a request has no answer. It is a client's mistake or the state of the server, and never a traceback.

Each protocol holds one table from ``Kind`` to its own codes.
"""

from __future__ import annotations

from enum import Enum


class Kind(Enum):
    """The kind of a failure; the value is its name in metrics and logs."""

    INVALID = "invalid"
    NOT_FOUND = "not_found"
    TOO_LARGE = "too_large"
    FULL = "full"
    LATE = "late"
    DRAINING = "draining"
    CANCELLED = "cancelled"
    FAILED = "failed"
    UNAUTHENTICATED = "unauthenticated"
    UNSUPPORTED = "unsupported"


class ServeError(Exception):
    """A request that is not answered.

    Attributes:
        kind: what programs branch on.
        message: one line for people, without anything that the server keeps to itself.
        retry_after: seconds after which the request is worth another try, of FULL and DRAINING.
    """

    def __init__(self, kind: Kind, message: str, *, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.kind = kind
        self.message = message
        self.retry_after = retry_after
