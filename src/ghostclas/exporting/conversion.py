"""Input and output of a converter, the same for every format. This module imports no torch."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, JsonValue

from ghostclas.bundle import Bundle, Precision, TensorSpec
from ghostclas.spec import Frozen

if TYPE_CHECKING:
    from ghostclas.exporting.network import Normalised

INPUT, LOGITS, FEATURES = "images", "logits", "features"


class Quantization(Frozen):
    """The settings of a quantization to int8.

    ``calibration`` is a ``.npy`` of photos as network input, uint8 ``[N, H, W, 3]``. Weights have one scale
    for each output channel, or one for each matrix. Layers whose names contain one of ``keep_float`` stay in
    float.
    """

    calibration: Path
    per_channel: bool = True
    keep_float: tuple[str, ...] = ()


@dataclass(frozen=True)
class Conversion:
    """The conversion of a bundle into one file.

    ``folder`` is empty. The converter writes into it, under the names that the bundle will have, and may
    leave other files there. ``step`` is called with each next step, so that an error can name it, even one
    that ends the process.
    """

    bundle: Bundle
    precision: Precision
    folder: Path
    step: Callable[[str], None]
    load_network: Callable[[], Normalised]
    write_onnx: Callable[[Path], None]
    quantization: Quantization | None = None
    options: Mapping[str, str] = field(default_factory=dict)
    """What the user asked for besides, of the names in the format's row; a switch is ``"yes"``."""

    @cached_property
    def network(self) -> Normalised:
        """The folded network in evaluation mode; torch is imported on first use.

        Raises:
            RuntimeError: the converter is isolated from torch.
        """
        self.step("loading the network")
        return self.load_network()

    @cached_property
    def onnx_file(self) -> Path:
        """The bundle's ONNX graph, with float32 weights, as a file that the converter may change."""
        self.step("reading the bundle's ONNX file")
        target = self.folder / "source.onnx"
        self.write_onnx(target)
        return target

    @property
    def crop(self) -> int:
        """The side of the network's input in pixels."""
        return self.bundle.preprocess.crop

    @property
    def num_classes(self) -> int:
        """The number of logits."""
        return len(self.bundle.classes)

    @property
    def feature_size(self) -> int | None:
        """The number of pooled features of the ONNX file; ``None`` if it has no such output."""
        features = self.bundle.file("onnx").entry.features
        return features.size("C") if features else None

    def name(self, stem: str, suffix: str) -> str:
        """Return the file's name: ``model.xml`` in float32, ``model.fp16.xml`` in another precision."""
        return f"{stem}{suffix}" if self.precision == "fp32" else f"{stem}.{self.precision}{suffix}"


Step = Callable[[str], object]
"""Called with what is being done now, in a few words."""


def silent(_: str) -> None:
    """Be the ``Step`` of a caller who does not ask."""


class Written(Frozen):
    """A file that a converter wrote, by its path in the folder. Companion files have no ``input``.

    ``facts`` are remembered in the provenance of the bundle, under the format.
    """

    path: str
    facts: dict[str, JsonValue] = Field(default_factory=dict)
    input: TensorSpec | None = None
    output: TensorSpec | None = None
    features: TensorSpec | None = None


def image_input(crop: int, *, batch: int | None = None, name: str = INPUT) -> TensorSpec:
    """Describe an input of uint8 photos."""
    return TensorSpec(name=name, dtype="uint8", layout="NHWC", shape=(batch, crop, crop, 3))


def planar_input(crop: int, *, name: str = INPUT) -> TensorSpec:
    """Describe an input of one photo as float planes."""
    return TensorSpec(name=name, dtype="float32", layout="NCHW", shape=(1, 3, crop, crop))


def logits_output(num_classes: int, *, batch: int | None = None, name: str = LOGITS) -> TensorSpec:
    """Describe an output of logits."""
    return TensorSpec(name=name, dtype="float32", layout="NC", shape=(batch, num_classes))


def features_output(size: int | None, *, name: str = FEATURES) -> TensorSpec | None:
    """Describe an output of pooled features; ``None`` where there are none."""
    return None if size is None else TensorSpec(name=name, dtype="float32", layout="NC", shape=(None, size))
