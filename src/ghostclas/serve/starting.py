"""The one way to start a server, in this process or in several."""

from __future__ import annotations

import os
import sys

from ghostclas.errors import UsageError
from ghostclas.extras import require
from ghostclas.serve.settings import Settings

_PACKAGES = ("uvicorn", "httptools", "python_multipart", "prometheus_client")
_GRPC = ("grpc", "google.protobuf")


def serve(settings: Settings) -> int:
    """Serve until a signal ends it; return the exit code, 0 if every accepted request was answered.

    Raises:
        MissingExtraError: the extra ``serve`` is not installed.
        GhostclasError: it cannot start.
    """
    # gRPC would write lines of its own to standard error; what matters comes as an exception.
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    for package in (*_PACKAGES, *(_GRPC if settings.grpc is not None else ())):
        require(package, extra="serve")
    if settings.workers == 1:
        from ghostclas.serve.worker import run_alone

        return run_alone(settings)
    if sys.platform != "win32":
        from ghostclas.serve.supervisor import supervise

        return supervise(settings)
    raise UsageError("several workers need a POSIX system; use --workers 1")
