"""What a teacher is, and the teachers that need no torch: bundles and ONNX files."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from ghostclas.datasets.synsets import imagenet_synsets
from ghostclas.engines import open_engine
from ghostclas.errors import BundleError, DataError, UsageError
from ghostclas.spec import IMAGENET_MEAN, IMAGENET_STD, PreprocessSpec, ResizeSpec, Triple
from ghostclas.ssld.config import TeacherConfig
from ghostclas.zoo import locate

UInt8 = npt.NDArray[np.uint8]
Float32 = npt.NDArray[np.float32]
Labels = tuple[tuple[str, ...], ...]

IMAGENET_OUTPUTS = 1000
DEFAULT_SIDE = 224


class Teacher(Protocol):
    """A frozen classifier.

    Attributes:
        name: as the user called it.
        digest: sha256 of what decides its answers, but for how pictures are prepared.
        outputs: how many logits it gives.
        labels: the names by which each output is known, or ``None``.
        preprocess: how it looks at a picture.
        side: the only side in pixels that it takes, or ``None`` for any.
    """

    name: str
    digest: str
    outputs: int
    labels: Labels | None
    preprocess: PreprocessSpec
    side: int | None

    def run(self, images: UInt8) -> Float32:
        """Return float32 logits ``[N, outputs]`` of uint8 pictures ``[N, H, W, 3]``."""

    def close(self) -> None:
        """Free what it holds."""


def open_teacher(config: TeacherConfig, *, threads: int | None = None, device: str = "cpu") -> Teacher:
    """Open the teacher that the configuration names.

    Args:
        config: see :class:`~ghostclas.ssld.config.TeacherConfig`.
        threads: how many cores it may use; all when absent.
        device: where a network of torch runs.

    Raises:
        UsageError: there is no such teacher, or a setting that it does not take.
        DataError: a list of classes that does not fit its outputs.
        BundleError: a bundle or file that does not verify or load.
        MissingExtraError: the package that carries it is not installed.
    """
    located = locate(config.model)
    if located.kind == "network":
        from ghostclas.ssld.torch_teacher import open_torch_teacher

        return open_torch_teacher(config, device=device)
    if located.kind == "onnx":
        return OnnxTeacher(config, threads=threads)
    return BundleTeacher(config, threads=threads)


class BundleTeacher:
    """A bundle, through the fastest engine that is installed."""

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
        """Return float32 logits ``[N, outputs]`` of uint8 pictures ``[N, H, W, 3]``."""
        return self._engine.run(images)

    def close(self) -> None:
        """Free the engine."""
        self._engine.close()


class OnnxTeacher:
    """Any ONNX classifier with one input and one output.

    The input is ``[N, 3, H, W]`` or ``[N, H, W, 3]``: uint8 pixels as they are, or float32 or float16 ones
    in [0, 1] minus ``mean``, over ``std``; the output is logits ``[N, C]``. N may be fixed.
    """

    def __init__(self, config: TeacherConfig, *, threads: int | None = None) -> None:
        file = Path(config.model)
        try:
            content = file.read_bytes()
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
            raise BundleError(f"{file} takes pictures of {height} x {width}; a teacher takes squares")
        self.side = height
        self._batch = self._input.shape[0] if isinstance(self._input.shape[0], int) else None
        self.preprocess = preprocess_of(config, self.side)
        self.name = config.model
        self.digest = hashlib.sha256(content).hexdigest()
        probe = self.run(np.zeros((1, self.preprocess.crop, self.preprocess.crop, 3), np.uint8))
        self.outputs = probe.shape[1]
        self.labels = labels_of(config, self.outputs)

    def run(self, images: UInt8) -> Float32:
        """Return float32 logits ``[N, outputs]`` of uint8 pictures ``[N, H, W, 3]``."""
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
        except Exception as error:  # the classes it raises are private and differ by version
            lines = str(error).splitlines() or [type(error).__name__]
            raise BundleError(f"ONNX Runtime cannot run the teacher {self.name}: {lines[0]}") from None
        logits = np.asarray(logits, np.float32)
        if logits.ndim != 2 or len(logits) != len(images):
            raise BundleError(f"{self.name} gives {list(logits.shape)}; a teacher gives logits [N, classes]")
        return logits


def preprocess_of(
    config: TeacherConfig,
    side: int | None,
    *,
    default_side: int = DEFAULT_SIDE,
    mean: Triple = IMAGENET_MEAN,
    std: Triple = IMAGENET_STD,
) -> PreprocessSpec:
    """Return how a teacher looks at pictures: what was set, else what is usual for it.

    Raises:
        UsageError: the teacher takes pictures of another size only, or sizes that do not fit each other.
    """
    if side is not None and config.resolution not in (None, side):
        raise UsageError(
            f"the teacher {config.model} takes pictures of {side} x {side}, not {config.resolution}; "
            "leave its resolution out"
        )
    crop = side or config.resolution or default_side
    try:
        return PreprocessSpec(
            resize=ResizeSpec(
                short_side=config.resize or round(crop * 256 / 224),
                interpolation=config.interpolation or "bilinear",
            ),
            crop=crop,
            mean=config.mean or mean,
            std=config.std or std,
        )
    except ValueError as error:
        problem = str(error).splitlines()[-1].split("[")[0].strip() or str(error)
        raise UsageError(f"the teacher {config.model} cannot look at pictures so: {problem}") from None


def labels_of(config: TeacherConfig, outputs: int) -> Labels | None:
    """Return the names of a teacher's outputs: from ``config.classes``, or ImageNet's where there are 1000.

    Raises:
        DataError: the list is not as long as there are outputs.
    """
    if config.classes is not None:
        from ghostclas.data.labels import read_label_file

        names = read_label_file(Path(config.classes))
        if len(names) != outputs:
            raise DataError(
                f"{config.classes} names {len(names)} classes; {config.model} has {outputs} outputs"
            )
        return tuple((name,) for name in names)
    if outputs != IMAGENET_OUTPUTS:
        return None
    synsets = imagenet_synsets()
    return synsets and tuple((s.identifier, s.words, s.words.split(",")[0]) for s in synsets)


def view_of(teacher: Teacher) -> dict[str, Any]:
    """Return how a teacher looks at whole pictures, as plain JSON, for its cache."""
    view: dict[str, Any] = json.loads(teacher.preprocess.model_dump_json())
    return view


def _session(content: bytes, file: Path, threads: int | None) -> Any:
    import onnxruntime as ort

    ort.disable_telemetry_events()
    options = ort.SessionOptions()
    options.intra_op_num_threads = threads or 0
    options.log_severity_level = 4
    try:
        return ort.InferenceSession(content, options, providers=["CPUExecutionProvider"])
    except Exception as error:  # the classes it raises are private and differ by version
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
