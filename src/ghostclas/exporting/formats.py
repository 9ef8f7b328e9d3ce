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
    """

    converter: str
    precisions: Sequence[Precision] = ("fp32", "fp16")
    isolated: bool = False


FORMATS: Mapping[str, Format] = {
    "onnx": Format("ghostclas.exporting.onnx_file", ("fp32", "fp16", "int8"), isolated=True),
    "openvino": Format("ghostclas.exporting.openvino", ("fp32", "fp16", "int8"), isolated=True),
    "ncnn": Format("ghostclas.exporting.ncnn"),
    "litert": Format("ghostclas.exporting.litert", ("fp32", "fp16", "int8")),
    "executorch": Format("ghostclas.exporting.executorch", ("fp32",)),
    "mnn": Format("ghostclas.exporting.mnn", isolated=True),
    "torch": Format("ghostclas.exporting.torch_export", ("fp32",)),
    "coreml": Format("ghostclas.exporting.coreml"),
}


def check_formats(formats: Sequence[str], precision: str) -> None:
    """Raise UsageError for a format or a precision that does not exist."""
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
