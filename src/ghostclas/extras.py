"""Imports of packages that only an extra installs."""

from __future__ import annotations

from importlib import import_module
from typing import Any

from ghostclas.errors import MissingExtraError


def require(module: str, *, extra: str) -> Any:
    """Import and return ``module``.

    Raises:
        MissingExtraError: it is not installed; the message is the command that installs it.
    """
    try:
        return import_module(module)
    except ModuleNotFoundError as error:
        if error.name is None or error.name.split(".")[0] != module.split(".")[0]:
            raise
        raise MissingExtraError(
            f"this needs the package {error.name!r}, which is not installed: pip install 'ghostclas[{extra}]'"
        ) from None
