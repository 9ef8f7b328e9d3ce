"""The one way to start a server, in this process or in several."""

from __future__ import annotations

import sys

from ghostclas.errors import UsageError
from ghostclas.serve.settings import Settings


def serve(settings: Settings) -> int:
    """Serve until a signal ends it; return the exit code, 0 if every accepted request was answered.

    Raises:
        GhostclasError: it cannot start.
    """
    if settings.workers == 1:
        from ghostclas.serve.worker import run_alone

        return run_alone(settings)
    if sys.platform != "win32":
        from ghostclas.serve.supervisor import supervise

        return supervise(settings)
    raise UsageError("several workers need a POSIX system; use --workers 1")
