"""ONNX by way of Paddle: ``paddle2onnx/model.onnx``, for those who have to show that path.

The graph becomes a Paddle program, and Paddle2ONNX makes ONNX of that. It takes and gives what ``model.onnx``
does, without features. Any opset from 7 to 21 can be asked for.
"""

from __future__ import annotations

import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np

from ghostclas.bundle import Bundle
from ghostclas.engines.paddle import import_paddle
from ghostclas.engines.paddle_files import check_parameters, read_files
from ghostclas.engines.table import is_installed
from ghostclas.errors import ExportError, MissingExtraError
from ghostclas.exporting.conversion import INPUT, LOGITS, Conversion, Written, image_input, logits_output
from ghostclas.exporting.metadata import describe, described_onnx
from ghostclas.exporting.paddle_program import write_program
from ghostclas.extras import require
from ghostclas.verification import logit_differences

PATH = "paddle2onnx/model.onnx"
TOLERANCE = 1e-4
OPSETS = range(7, 22)
OPSET = 18


def convert(job: Conversion) -> list[Written]:
    """Write the network as ONNX by way of Paddle."""
    opset = _opset(job.options.get("opset", str(OPSET)))
    source = job.onnx_file
    job.step("translating the graph to a Paddle program")
    write_program(source, job.folder / "program")
    job.step("converting with Paddle2ONNX")
    target = job.folder / PATH
    target.parent.mkdir()
    to_onnx(job.folder / "program.json", job.folder / "program.pdiparams", target, opset=opset)
    texts = describe(job.bundle.classes, job.bundle.preprocess)
    target.write_bytes(described_onnx(target.read_bytes(), texts))
    job.step("comparing it with the reference")
    _compare(job.bundle, target)
    return [
        Written(
            path=PATH,
            input=image_input(job.crop),
            output=logits_output(job.num_classes),
            facts={"opset": opset, "version": metadata.version("paddle2onnx")},
        )
    ]


def require_paddle2onnx() -> Any:
    """Import and return ``paddle2onnx``.

    Raises:
        MissingExtraError: it is not installed, too old, or there is none for this Python.
    """
    if sys.version_info >= (3, 13):
        raise MissingExtraError("there is no Paddle2ONNX for Python 3.13: use Python 3.12 or 3.11")
    if is_installed("paddle"):
        # It imports Paddle, which warns; here it does not.
        import_paddle()
    tool = require("paddle2onnx", extra="paddle2onnx")
    version = metadata.version("paddle2onnx")
    if tuple(int(part) for part in version.split(".")[:2] if part.isdigit()) < (2, 1):
        raise MissingExtraError(
            f"Paddle2ONNX 2.1 or later is needed, and {version} is installed: "
            "pip install 'ghostclas[paddle2onnx]'"
        )
    return tool


def to_onnx(program: Path, parameters: Path, target: Path, *, opset: int = OPSET) -> None:
    """Convert a checked Paddle program of one input and one output; they become ``images`` and ``logits``.

    Raises:
        ExportError: Paddle2ONNX failed, or wrote something other than what was asked for.
        ValueError: the files do not fit together; it would write a file without saying so.
    """
    outside, tensors = read_files(program, parameters)
    check_parameters(outside, tensors)
    tool = require_paddle2onnx()
    onnx = require("onnx", extra="paddle")
    tool.export(
        str(program),
        str(parameters),
        str(target),
        opset_version=opset,
        auto_upgrade_opset=False,
        verbose=False,
        enable_onnx_checker=True,
    )
    if not target.is_file():
        raise ExportError("Paddle2ONNX ended without writing a file")
    proto = onnx.load_model(target)
    found = {entry.domain: entry.version for entry in proto.opset_import}.get("")
    if found != opset or len(proto.graph.input) != 1 or len(proto.graph.output) != 1:
        raise ExportError(f"Paddle2ONNX wrote opset {found}, where opset {opset} was asked for")
    _rename(proto.graph, {proto.graph.input[0].name: INPUT, proto.graph.output[0].name: LOGITS})
    # Its constants of opset 7 are of a type that only later ones have, which every runtime takes.
    onnx.checker.check_model(proto)
    onnx.save_model(proto, target)


def _rename(graph: Any, names: dict[str, str]) -> None:
    for value in (*graph.input, *graph.output):
        value.name = names.get(value.name, value.name)
        value.type.tensor_type.shape.dim[0].dim_param = "N"
    for node in graph.node:
        node.input[:] = [names.get(name, name) for name in node.input]
        node.output[:] = [names.get(name, name) for name in node.output]


def _opset(text: str) -> int:
    if not text.isdigit() or int(text) not in OPSETS:
        raise ExportError(f"opset is a number from {OPSETS[0]} to {OPSETS[-1]}, not {text!r}")
    return int(text)


def _compare(bundle: Bundle, file: Path) -> None:
    """Raise ExportError for a file that does not answer as ``model.onnx`` does."""
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])
    reference = bundle.reference()
    (found,) = session.run([LOGITS], {INPUT: reference.pixels})
    difference = float(logit_differences(np.asarray(found), reference.logits).max())
    if not difference <= TOLERANCE:
        raise ExportError(f"the file answers differently, by up to {difference:.2g} ({TOLERANCE:g} allowed)")
