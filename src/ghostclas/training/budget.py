"""What of a time budget the end of a run needs: the export, the evaluation and the report."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path
from time import monotonic

from ghostclas.errors import ExportError
from ghostclas.exporting.onnx import export_bundle
from ghostclas.models import create_model
from ghostclas.spec import ModelSpec, PreprocessSpec

REPORT_SECONDS = 3.0
"""The curves and the pages of a report, which hold at most a few dozen photos."""

LEAST_TIMED = 60.0
"""In a shorter budget, in seconds, timing the export would leave no time to train."""


def seconds_to_finish(spec: ModelSpec, preprocess: PreprocessSpec, *, budget: float) -> float:
    """Return how long the end of a run takes, without the passes over its validation images.

    A network of this kind is exported once, untrained. How long that takes depends on the processor and on
    what else runs there, so that no constant tells it. Of a ``budget`` below ``LEAST_TIMED`` seconds, half is
    for the end.
    """
    if budget < LEAST_TIMED:
        return budget / 2
    began = monotonic()
    classes = [f"class {number}" for number in range(spec.num_classes)]
    # The end of the run tells what is wrong with a network that cannot be exported.
    with tempfile.TemporaryDirectory(prefix="ghostclas-") as folder, suppress(ExportError):
        export_bundle(create_model(spec).eval(), spec, classes, preprocess, Path(folder) / "bundle")
    return monotonic() - began + REPORT_SECONDS
