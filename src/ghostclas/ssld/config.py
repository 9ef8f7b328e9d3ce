"""Settings of scoring and mining."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from ghostclas.spec import Fraction, Frozen, Interpolation, Triple


class TeacherConfig(Frozen):
    """Who teaches.

    ``model`` is a bundle, a run, ``default``, an ``.onnx`` file, ``efficientnet_lite0`` to ``2``, or
    ``timm:NAME``; ``weights`` is a file for the last. ``classes`` names the outputs, one a line, where the
    model does not; ``mapping`` is a CSV of ``output,class`` rows where names do not match. The rest says how
    pictures are prepared, in place of what the model says or of ImageNet's usual; a bundle's is fixed.
    """

    model: str
    weights: str | None = None
    classes: str | None = None
    mapping: str | None = None
    resolution: Annotated[int, Field(ge=32, le=1024, multiple_of=32)] | None = None
    resize: Annotated[int, Field(ge=32, le=2048)] | None = None
    interpolation: Interpolation | None = None
    mean: Triple | None = None
    std: Triple | None = None


class MineConfig(Frozen):
    """What is taken from the pool: for each class the ``top_k`` likeliest pictures of at least ``floor``.

    ``neighbours`` is how many validation pictures, those whose features are most like its own, are compared
    with each picture of the pool, besides those whose perceptual hashes are close; 0 for none.
    ``max_bad`` is the part of the pool that may be unreadable.
    """

    top_k: Annotated[int, Field(ge=1)] = 4000
    floor: Fraction = 0.0
    neighbours: Annotated[int, Field(ge=0, le=1000)] = 10
    duplicates_in_pool: bool = True
    max_bad: Fraction = 0.01
