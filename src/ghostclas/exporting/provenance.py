"""When a bundle was made, and by what. Needs no torch."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from importlib import import_module

from pydantic import JsonValue

from ghostclas import __version__


def made_now(*packages: str) -> dict[str, JsonValue]:
    """Return today's date in UTC, and the versions of ghostclas and of ``packages``, for the provenance.

    ``SOURCE_DATE_EPOCH`` replaces the clock where builds must be reproducible.
    """
    epoch = os.environ.get("SOURCE_DATE_EPOCH", "")
    now = datetime.fromtimestamp(int(epoch), UTC) if epoch.isdecimal() else datetime.now(UTC)
    versions: dict[str, JsonValue] = {name: str(import_module(name).__version__) for name in packages}
    return {"date": now.date().isoformat(), "ghostclas": __version__, **versions}
