"""Export of trained networks: bundles and their files, one module per format.

``export`` is the public verb: ``onnx`` makes a bundle, ``additions`` adds the formats of the table
``formats``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostclas.exporting.model import export

__all__ = ["export"]


def __getattr__(name: str) -> Any:
    # Imported on first use: the command line reads the table of formats, which needs none of it.
    if name not in __all__:
        raise AttributeError(f"module 'ghostclas.exporting' has no attribute {name!r}")
    from ghostclas.exporting import model

    return getattr(model, name)
