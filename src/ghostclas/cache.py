"""The folder of what can be made or downloaded again."""

from __future__ import annotations

import os
from pathlib import Path

CACHE_VARIABLE = "GHOSTCLAS_CACHE"


def cache_directory(cache: str | Path | None = None) -> Path:
    """Return ``cache``, else ``$GHOSTCLAS_CACHE``, else the platform's place for such files."""
    if chosen := cache or os.environ.get(CACHE_VARIABLE):
        return Path(chosen).expanduser()
    from platformdirs import user_cache_dir

    return Path(user_cache_dir("ghostclas"))
