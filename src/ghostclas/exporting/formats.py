"""The formats that can be added to a bundle. A new one is a row here and the module that it names."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, NamedTuple

from ghostclas.errors import UsageError, did_you_mean

if TYPE_CHECKING:
    from ghostclas.bundle import Precision


class Format(NamedTuple):
    """One row of the table.

    Attributes:
        converter: the module whose ``convert`` takes a ``Conversion`` and returns the written files.
        precisions: the precisions that it can write.
        isolated: whether it runs without torch and gets the ONNX file instead of the network: for toolchains
            that cannot share a process with torch, and for those that do not need it.
        options: what can be asked for besides, by name.
    """

    converter: str
    precisions: Sequence[Precision] = ("fp32", "fp16")
    isolated: bool = False
    options: Sequence[str] = ()


FORMATS: Mapping[str, Format] = {
    "onnx": Format("ghostclas.exporting.onnx_file", ("fp32", "fp16", "int8"), isolated=True),
    "openvino": Format("ghostclas.exporting.openvino", ("fp32", "fp16", "int8"), isolated=True),
    "ncnn": Format("ghostclas.exporting.ncnn"),
    "litert": Format("ghostclas.exporting.litert", ("fp32", "fp16", "int8")),
    "executorch": Format("ghostclas.exporting.executorch", ("fp32",)),
    "mnn": Format("ghostclas.exporting.mnn", isolated=True),
    "torch": Format("ghostclas.exporting.torch_export", ("fp32",)),
    "coreml": Format("ghostclas.exporting.coreml"),
    "paddle": Format("ghostclas.exporting.paddle", ("fp32",), isolated=True),
    "paddle_legacy": Format(
        "ghostclas.exporting.paddle_legacy", ("fp32",), isolated=True, options=("softmax",)
    ),
    "paddlelite": Format(
        "ghostclas.exporting.paddlelite", ("fp32",), isolated=True, options=("softmax", "targets")
    ),
    "paddle2onnx": Format("ghostclas.exporting.paddle2onnx", ("fp32",), isolated=True, options=("opset",)),
    "pdparams": Format("ghostclas.exporting.pdparams", ("fp32",)),
}


def named_formats(formats: str, *, legacy: bool = False, via: str | None = None) -> list[str]:
    """Return the formats in a string with commas, once each.

    Args:
        formats: keys of ``FORMATS``.
        legacy: ``paddle`` means ``paddle_legacy``.
        via: ``paddle2onnx`` makes ``onnx`` mean that format.

    Raises:
        UsageError: ``legacy`` or ``via`` does not fit the formats.
    """
    names = list(dict.fromkeys(name.strip() for name in formats.split(",")))
    spellings = {"paddle": "paddle_legacy"} if legacy else {}
    if via is not None:
        if via != "paddle2onnx":
            raise UsageError(f"an ONNX file is made directly, or --via paddle2onnx; not via {via!r}")
        spellings["onnx"] = via
    for name, meant in spellings.items():
        if name not in names:
            flag = "--paddle-legacy" if meant == "paddle_legacy" else "--via"
            raise UsageError(f"{flag} is for --format {name}, which is not asked for")
    return [spellings.get(name, name) for name in names]


def check_formats(formats: Sequence[str], precision: str, options: Mapping[str, str] | None = None) -> None:
    """Raise UsageError for a format, a precision or an option that does not exist."""
    for option in options or {}:
        able = [name for name, row in FORMATS.items() if option in row.options]
        if not any(name in able for name in formats):
            raise UsageError(f"{option} is an option of: {', '.join(able)}; none of them is asked for")
    for name in formats:
        if name not in FORMATS:
            near = did_you_mean(name, FORMATS) or f"; there are: {', '.join(FORMATS)}"
            raise UsageError(f"there is no format {name!r}{near}")
        if precision not in FORMATS[name].precisions:
            able = [other for other, row in FORMATS.items() if precision in row.precisions]
            raise UsageError(
                f"{name} cannot be written in {precision!r}, only in: {', '.join(FORMATS[name].precisions)}"
                + (f"; formats with {precision}: {', '.join(able)}" if able else "")
            )
