"""Teachers that need no torch: bundles and ONNX files."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from ghostclas.engines import open_engine
from ghostclas.errors import BundleError, UsageError
from ghostclas.files import read_regular
from ghostclas.ssld.config import TeacherConfig
from ghostclas.ssld.teacher import Float32, Labels, UInt8, labels_of, preprocess_of
from ghostclas.zoo import locate

MAX_BYTES = 4 << 30
"""The largest teacher that is read."""


class BundleTeacher:
    """A bundle, run by the fastest engine that is installed."""

    def __init__(self, config: TeacherConfig, *, threads: int | None = None) -> None:
        bundle = locate(config.model).bundle()
        own = ("weights", "classes", "resolution", "resize", "interpolation", "mean", "std")
        given = [name for name in own if getattr(config, name) is not None]
        if given:
            raise UsageError(f"{config.model} is a bundle and brings its own {given[0]}; leave that out")
        self.name = config.model
        self.digest = bundle.file().entry.sha256
        self.labels: Labels | None = tuple((name,) for name in bundle.classes)
        self.outputs = len(bundle.classes)
        self.preprocess = bundle.preprocess
        self.side: int | None = bundle.preprocess.crop
        self._engine = open_engine("auto", bundle, threads=threads)

    def run(self, images: UInt8) -> Float32:
        """Return float32 logits ``[N, outputs]`` of uint8 images ``[N, H, W, 3]``."""
        return self._engine.run(images)

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()


class OnnxTeacher:
    """Any ONNX classifier with one input and one output.

    The input is ``[N, 3, H, W]`` or ``[N, H, W, 3]``: uint8 pixels, or float32 or float16 pixels in [0, 1],
    minus ``mean``, divided by ``std``. The output is logits ``[N, C]``. N may be fixed.
    """

    def __init__(self, config: TeacherConfig, *, threads: int | None = None) -> None:
        file = Path(config.model)
        try:
            content = read_regular(file, MAX_BYTES)
        except OSError as error:
            raise UsageError(f"cannot read the teacher {file}: {error.strerror}") from None
        if config.weights is not None:
            raise UsageError(f"{file} holds its own weights; leave them out")
        self._session = _session(content, file, threads)
        inputs, outputs = self._session.get_inputs(), self._session.get_outputs()
        if len(inputs) != 1 or len(outputs) != 1:
            raise BundleError(
                f"{file} has {len(inputs)} inputs and {len(outputs)} outputs; a teacher has one of each"
            )
        self._input, self._output = inputs[0], outputs[0]
        self._channels_last = _channels_last(self._input.shape, file)
        self._dtype = _dtype(self._input.type, file)
        sides = self._input.shape[1:3] if self._channels_last else self._input.shape[2:4]
        height, width = (side if isinstance(side, int) else None for side in sides)
        if height != width:
            raise BundleError(f"{file} takes images of {height} x {width}; a teacher takes squares")
        self.side = height
        self._batch = self._input.shape[0] if isinstance(self._input.shape[0], int) else None
        self.preprocess = preprocess_of(config, self.side)
        self.name = config.model
        self.digest = hashlib.sha256(content).hexdigest()
        probe = self.run(np.zeros((1, self.preprocess.crop, self.preprocess.crop, 3), np.uint8))
        self.outputs = probe.shape[1]
        self.labels = labels_of(config, self.outputs)

    def run(self, images: UInt8) -> Float32:
        """Return float32 logits ``[N, outputs]`` of uint8 images ``[N, H, W, 3]``."""
        if self._batch is None:
            return self._run(images)
        parts = []
        for start in range(0, len(images), self._batch):
            part = images[start : start + self._batch]
            filled = np.concatenate([part, np.repeat(part[-1:], self._batch - len(part), axis=0)])
            parts.append(self._run(filled)[: len(part)])
        return np.concatenate(parts)

    def close(self) -> None:
        """Free the session."""
        self._session = None

    def _run(self, images: UInt8) -> Float32:
        batch: npt.NDArray[Any] = images
        if self._dtype != np.uint8:
            mean, std = (
                np.array(values, np.float32) for values in (self.preprocess.mean, self.preprocess.std)
            )
            batch = ((images.astype(np.float32) / 255 - mean) / std).astype(self._dtype)
        if not self._channels_last:
            batch = batch.transpose(0, 3, 1, 2)
        try:
            (logits,) = self._session.run(
                [self._output.name], {self._input.name: np.ascontiguousarray(batch)}
            )
        except Exception as error:  # ONNX Runtime's classes are private and differ by version
            lines = str(error).splitlines() or [type(error).__name__]
            raise BundleError(f"ONNX Runtime cannot run the teacher {self.name}: {lines[0]}") from None
        logits = np.asarray(logits, np.float32)
        if logits.ndim != 2 or len(logits) != len(images):
            raise BundleError(f"{self.name} gives {list(logits.shape)}; a teacher gives logits [N, classes]")
        return logits


def _session(content: bytes, file: Path, threads: int | None) -> Any:
    import onnxruntime as ort

    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # ONNX Runtime's classes are private and differ by version
        lines = str(error).splitlines() or [type(error).__name__]
        raise BundleError(
            f"the teacher {file} is no ONNX file that ONNX Runtime can run: {lines[0]}"
        ) from None


def _channels_last(shape: Sequence[Any], file: Path) -> bool:
    if len(shape) == 4 and shape[1] == 3:
        return False
    if len(shape) == 4 and shape[3] == 3:
        return True
    raise BundleError(f"{file} takes {list(shape)}; a teacher takes [N, 3, H, W] or [N, H, W, 3]")


def _dtype(kind: str, file: Path) -> npt.DTypeLike:
    known = {"tensor(uint8)": np.uint8, "tensor(float)": np.float32, "tensor(float16)": np.float16}
    if kind not in known:
        raise BundleError(f"{file} takes {kind}; a teacher takes uint8, float or float16")
    return known[kind]
