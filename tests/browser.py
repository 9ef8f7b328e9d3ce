"""Headless Chromium for tests of pages."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

CHROMIUM = Path("/usr/bin/chromium")


def running_chromium(*flags: str) -> Iterator[Any]:
    """Yield a browser of playwright, as the body of a fixture; skip its tests where there is none."""
    if not CHROMIUM.exists():
        pytest.skip(f"there is no {CHROMIUM}")
    playwright = pytest.importorskip("playwright.sync_api").sync_playwright().start()
    running = playwright.chromium.launch(executable_path=str(CHROMIUM), args=["--no-sandbox", *flags])
    yield running
    running.close()
    playwright.stop()
