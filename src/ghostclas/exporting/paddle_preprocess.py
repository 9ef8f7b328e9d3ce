"""What ``inference.yml`` of a PaddleClas export says of preprocessing and classes, exactly or not at all."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path, PureWindowsPath
from typing import Any, NamedTuple

from pydantic import ValidationError

from ghostclas.errors import DataError
from ghostclas.extras import require
from ghostclas.files import read_regular
from ghostclas.spec import IMAGENET_MEAN, IMAGENET_STD, PreprocessSpec, ResizeSpec, Triple

MAX_BYTES = 16 * 2**20
_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)(?:[eE][+-]?\d+)?"
_INTERPOLATIONS = {"cv2": ("bilinear",), "pil": ("bilinear", "bicubic", "lanczos")}
_KEYS = {
    "DecodeImage": {"to_rgb", "to_np", "channel_first"},
    "ResizeImage": {"resize_short", "size", "interpolation", "backend", "return_numpy"},
    "CropImage": {"size"},
    "NormalizeImage": {"scale", "mean", "std", "order", "channel_num", "output_fp16"},
    "ToCHWImage": set[str](),
}


class ClassMap(NamedTuple):
    """A ``class_id_map_file``: ``number<delimiter>name`` lines, beside the configuration that names it."""

    file: Path
    delimiter: str


class InferenceConfig(NamedTuple):
    """The parts of a deployment's configuration that a bundle keeps."""

    preprocess: PreprocessSpec
    name: str | None
    labels: tuple[str, ...] | None
    class_map: ClassMap | None = None


def read_config(file: Path) -> InferenceConfig:
    """Read ``inference.yml``, or ``inference_cls.yaml``.

    Raises:
        DataError: it cannot be read, or asks for something that a bundle does not do; the message names it.
    """
    yaml = require("yaml", extra="paddle")
    try:
        document = yaml.safe_load(read_text(file))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        problem = str(getattr(error, "problem", None) or error)[:120]
        raise DataError(f"{file} is not valid YAML: {problem}") from None
    try:
        return _config(document, file)
    except _UnknownError as error:
        raise DataError(f"{file}: {error}") from None


def read_text(file: Path) -> str:
    """Return a text file, in UTF-8 or GBK.

    Raises:
        DataError: it is missing, too large, or no such text.
    """
    try:
        content = read_regular(file, MAX_BYTES)
    except OSError as error:
        raise DataError(f"{file} cannot be read: {error.strerror}") from None
    for encoding in ("utf-8-sig", "gbk"):
        try:
            return content.decode(encoding)
        except UnicodeDecodeError:
            continue
    raise DataError(f"{file} is no text in UTF-8 or GBK")


def read_labels(file: Path, count: int, delimiter: str | None = None) -> tuple[str, ...]:
    """Read class names: one a line in their order, or each behind its number, as PaddleClas writes them.

    Args:
        file: the list.
        count: how many there have to be.
        delimiter: what stands between number and name; a blank when absent.

    Raises:
        DataError: it cannot be read, or does not name ``count`` classes.
    """
    lines = [line.strip() for line in read_text(file).splitlines() if line.strip()]
    between = re.escape(delimiter) if delimiter else r"\s+"
    numbered = [re.fullmatch(rf"(\d+){between}(.*)", line) for line in lines]
    numbers = [int(match[1]) for match in numbered if match]
    if lines and len(numbers) == len(lines) and sorted(numbers) == [*range(len(lines))]:
        named = {int(match[1]): match[2].strip() for match in numbered if match}
        lines = [named[index] or f"class {index}" for index in range(len(named))]
    if len(lines) != count:
        raise DataError(f"{file} names {len(lines)} classes, the model has {count}")
    return unique(lines)


def read_class_map(class_map: ClassMap, count: int) -> tuple[str, ...]:
    """Read the class names of a deployment, in UTF-8 or GBK.

    Raises:
        DataError: the file cannot be read, or does not name each of ``count`` classes by its number.
    """
    file, delimiter = class_map
    named: dict[int, str] = {}
    for place, line in enumerate(read_text(file).splitlines(), start=1):
        if not line.strip():
            continue
        index, between, name = line.partition(delimiter)
        if not between or not re.fullmatch(r"\s*[0-9]{1,9}\s*", index) or int(index) in named:
            raise DataError(
                f"{file}, line {place}: expected a new number, {delimiter!r} and a name but found "
                f"{line.strip()[:60]!r}"
            )
        named[int(index)] = name.strip()
    if sorted(named) != [*range(count)]:
        raise DataError(
            f"{file} does not name the classes 0 to {count - 1} of the model, but {len(named)} others"
        )
    return unique([named[index] or f"class {index}" for index in range(count)])


def unique(names: list[str]) -> tuple[str, ...]:
    """Return the names, those that occur twice with their number behind them."""
    times = Counter(names)
    return tuple(name if times[name] == 1 else f"{name} ({index})" for index, name in enumerate(names))


def number(value: Any, what: str) -> float:
    """Return a number, or the value of a text such as ``1.0/255.0``, which is parsed and never evaluated.

    Raises:
        ValueError: it is none.
    """
    if type(value) in (int, float):
        found = float(value)
    else:
        match = re.fullmatch(rf"\s*({_NUMBER})\s*(?:([*/])\s*({_NUMBER})\s*)?", str(value)[:100])
        if match is None or len(str(value)) > 100:
            raise ValueError(f"{what} is no number: {str(value)[:60]!r}")
        left, right = float(match[1]), float(match[3] or 1)
        if match[2] == "/" and right == 0:
            raise ValueError(f"{what} divides by zero")
        found = left / right if match[2] == "/" else left * right
    if not math.isfinite(found):
        raise ValueError(f"{what} is no finite number")
    return found


class _UnknownError(ValueError):
    """Something that a bundle does not do."""


def _config(document: Any, file: Path) -> InferenceConfig:
    if not isinstance(document, dict):
        raise _UnknownError("it is no mapping with PreProcess")
    after = document.get("PostProcess") or {}
    for name in after if isinstance(after, dict) else ():
        if name not in ("main_indicator", "Topk", "SavePreLabel"):
            raise _UnknownError(
                f"PostProcess has {name}: only classifiers with one label a photo, Topk, are imported"
            )
    topk = (after.get("Topk") if isinstance(after, dict) else None) or {}
    labels = topk.get("label_list")
    if labels is not None and not (
        isinstance(labels, list) and all(isinstance(label, str | int) for label in labels)
    ):
        raise _UnknownError("PostProcess.Topk.label_list is no list of names")
    listed, delimiter = topk.get("class_id_map_file"), topk.get("delimiter")
    for setting, value in (("class_id_map_file", listed), ("delimiter", delimiter)):
        if value is not None and not (isinstance(value, str) and value):
            raise _UnknownError(f"PostProcess.Topk.{setting} is no text")
    about = document.get("Global") or {}
    name = about.get("model_name") if isinstance(about, dict) else None
    steps = (document.get("PreProcess") or {}).get("transform_ops")
    if not isinstance(steps, list):
        raise _UnknownError("it has no PreProcess.transform_ops")
    return InferenceConfig(
        read_transforms(steps),
        None if name is None else str(name),
        None if labels is None else unique([str(label) for label in labels]),
        # Its folder is that of the machine which exported the model, so only its name counts.
        None if listed is None else ClassMap(file.parent / PureWindowsPath(listed).name, delimiter or " "),
    )


def read_transforms(steps: list[Any]) -> PreprocessSpec:
    """Return the preprocessing that a list of PaddleClas' operators describes.

    Raises:
        ValueError: one of them, or one of its settings, is none that a bundle does.
    """
    settings: dict[str, Mapping[str, Any]] = {}
    for step in steps:
        if not isinstance(step, dict) or len(step) != 1:
            raise _UnknownError("a step of the preprocessing is no operator with its settings")
        ((name, given),) = step.items()
        given = given or {}
        if name not in _KEYS or name in settings or not isinstance(given, dict):
            raise _UnknownError(f"the preprocessing has {name}, which is not known, or twice")
        if unknown := sorted(given.keys() - _KEYS[name]):
            raise _UnknownError(f"{name} has {unknown[0]}, which is not known")
        settings[name] = given
    if [name for name in _KEYS if name in settings] != [*settings]:
        raise _UnknownError(f"the preprocessing is in another order than {', '.join(_KEYS)}")
    if "ResizeImage" not in settings or "NormalizeImage" not in settings:
        raise _UnknownError("the preprocessing lacks ResizeImage or NormalizeImage")
    decode = settings.get("DecodeImage", {})
    if decode.get("to_rgb", True) is not True or decode.get("channel_first", False):
        raise _UnknownError("DecodeImage gives something other than RGB in rows")
    crop_size = settings.get("CropImage", {}).get("size")
    try:
        resize = _resize(settings["ResizeImage"])
        crop = _square(crop_size if crop_size is not None else resize.size or "no CropImage")
        mean, std = _normalisation(settings["NormalizeImage"])
        return PreprocessSpec(resize=resize, crop=crop, mean=mean, std=std)
    except ValidationError as error:
        raise _UnknownError(str(error.errors()[0]["msg"]).removeprefix("Value error, ")) from None


def _resize(given: Mapping[str, Any]) -> ResizeSpec:
    backend = str(given.get("backend") or "cv2").lower()
    interpolation = str(given.get("interpolation") or "bilinear").lower()
    if interpolation not in _INTERPOLATIONS.get(backend, ()):
        raise _UnknownError(f"ResizeImage scales by {interpolation} of {backend}, which is not done here")
    fields: dict[str, Any] = {
        "interpolation": interpolation,
        "antialias": backend == "pil",
        "library": {"cv2": "opencv", "pil": "pillow"}[backend],
    }
    short, size = given.get("resize_short"), given.get("size")
    if type(short) is int and short > 0:
        return ResizeSpec(short_side=short, **fields)
    sides = [size, size] if type(size) is int else size
    if not isinstance(sides, list) or len(sides) != 2 or not all(type(side) is int for side in sides):
        raise _UnknownError("ResizeImage has neither resize_short nor size")
    return ResizeSpec(short_side=min(sides), size=(sides[0], sides[1]), **fields)


def _square(size: Any) -> int:
    sides = list(size) if isinstance(size, list | tuple) else [size]
    if not all(type(side) is int for side in sides) or len(set(sides)) != 1:
        raise _UnknownError(f"the network takes photos of {size}; only squares are imported")
    return int(sides[0])


def _normalisation(given: Mapping[str, Any]) -> tuple[Triple, Triple]:
    """Return mean and standard deviation for pixels from 0 to 1."""
    if given.get("channel_num", 3) != 3 or given.get("output_fp16"):
        raise _UnknownError("NormalizeImage gives something other than three channels in float32")
    scale = 255 * number(given.get("scale") if given.get("scale") is not None else 1 / 255, "scale")
    if scale <= 0:
        raise _UnknownError("NormalizeImage has a scale that is not positive")
    values = []
    for name, usual in (("mean", IMAGENET_MEAN), ("std", IMAGENET_STD)):
        numbers = given.get(name) if given.get(name) is not None else list(usual)
        if not isinstance(numbers, list) or len(numbers) != 3:
            raise _UnknownError(f"NormalizeImage has a {name} that is no list of three numbers")
        first, second, third = (number(value, name) / scale for value in numbers)
        values.append((first, second, third))
    return values[0], values[1]
