"""Bundles and their files, made from trained networks: one file per format.

``export`` does it all: ``onnx`` makes a bundle, ``additions`` adds to it what the table in ``formats`` has.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostclas.exporting.model import export

__all__ = ["export"]


def __getattr__(name: str) -> Any:
    # Imported when first used: the command line reads the table of formats, which needs nothing of it.
    if name not in __all__:
        raise AttributeError(f"module 'ghostclas.exporting' has no attribute {name!r}")
    from ghostclas.exporting import model

    return getattr(model, name)
