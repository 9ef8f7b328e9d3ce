"""What a converter gets and what it gives back; the same for every format."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from ghostclas.bundle import Precision, TensorSpec
from ghostclas.spec import Frozen

if TYPE_CHECKING:
    from ghostclas.exporting.network import Normalised


class Quantization(Frozen):
    """How a file becomes int8.

    ``calibration`` is a ``.npy`` of photos as the network takes them, uint8 ``[N, H, W, 3]``. Weights have
    one scale for each output channel, or one for each matrix. Layers whose names contain one of
    ``keep_float`` stay as they are.
    """

    calibration: Path
    per_channel: bool = True
    keep_float: tuple[str, ...] = ()


@dataclass(frozen=True)
class Conversion:
    """One file to make.

    ``network`` is the folded network in evaluation mode; ``onnx_file`` is the bundle's, with float32 weights.
    ``folder`` is empty; the converter writes below it, under the names that the bundle will have, and may
    leave other things there. ``feature_size`` is that of the ONNX file's output ``features``, if it has one.
    ``step`` is called with what is about to happen, so that a failure can say
    where it happened, even one that ends the process.
    """

    network: Normalised
    onnx_file: Path
    precision: Precision
    folder: Path
    crop: int
    num_classes: int
    step: Callable[[str], None]
    quantization: Quantization | None = None
    feature_size: int | None = None

    def name(self, stem: str, suffix: str) -> str:
        """Return the file's name: ``model.xml`` in float32, ``model.fp16.xml`` in another precision."""
        return f"{stem}{suffix}" if self.precision == "fp32" else f"{stem}.{self.precision}{suffix}"


class Written(Frozen):
    """A file that a converter wrote, by its path below the folder. Companions have no ``input``."""

    path: str
    input: TensorSpec | None = None
    output: TensorSpec | None = None
    features: TensorSpec | None = None
