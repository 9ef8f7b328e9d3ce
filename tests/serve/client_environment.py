"""Clients of others, which need an environment of their own: ``.venvs/clients``, which ``./check`` makes."""

from __future__ import annotations

import json
import subprocess
from functools import cache
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).parents[2]
PYTHON = ROOT / ".venvs" / "clients" / "bin" / "python"
SECONDS = 120.0


@cache
def _missing(module: str) -> str | None:
    if not PYTHON.exists():
        return "there is no environment .venvs/clients; ./check makes it"
    found = subprocess.run([PYTHON, "-c", f"import {module}"], capture_output=True, timeout=SECONDS)
    return f"{module} is not in .venvs/clients" if found.returncode else None


def run_client(script: Path, module: str, *arguments: str | Path) -> dict[str, Any]:
    """Run a script by the clients' Python, and return the object of JSON that it prints.

    The test is skipped where that Python, or the client ``module``, is absent.
    """
    if missing := _missing(module):
        pytest.skip(missing)
    done = subprocess.run(
        [PYTHON, script, *map(str, arguments)], capture_output=True, text=True, timeout=SECONDS
    )
    assert done.returncode == 0, done.stderr[-3000:]
    answer: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return answer


def client_packages() -> Path:
    """Return the folder of the clients' packages, or skip the test."""
    if missing := _missing("tritonclient.grpc"):
        pytest.skip(missing)
    (folder,) = PYTHON.parents[1].glob("lib/python*/site-packages")
    return folder
