"""Paddle Inference with oneDNN on the CPU; the extra ``paddle`` installs it."""

from __future__ import annotations

import re
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostclas.bundle import BundleFile
from ghostclas.engines.contract import (
    Float32Logits,
    Port,
    UInt8NHWC,
    check_signature,
    companion,
    loading_failed,
)
from ghostclas.engines.file_engine import SerialEngine
from ghostclas.engines.paddle_files import Variable, check_operators, check_parameters, read_files
from ghostclas.errors import BundleError, MissingExtraError
from ghostclas.extras import require
from ghostclas.processor import usable_cores

SHAPES_KEPT = 10
"""Of how many batch sizes oneDNN keeps what it has compiled."""


OPERATORS = frozenset(
    {
        *("add", "cast", "clip", "combine", "concat", "conv2d", "data", "depthwise_conv2d", "divide", "feed"),
        *("fetch", "full", "full_int_array", "hardsigmoid", "hardswish", "matmul", "mean", "multiply"),
        *("pad3d", "pool2d", "relu", "reshape", "scale", "sigmoid", "slice", "softmax"),
        *("split", "split_with_num", "squeeze", "strided_slice", "subtract", "transpose", "unsqueeze"),
    }
)
"""Those that ``exporting.paddle_program`` writes. Others are refused: Paddle has some that touch files."""


class PaddleEngine(SerialEngine):
    """A ``.json`` program with its ``.pdiparams`` in Paddle Inference. See ``engines.contract.Engine``.

    One predictor serves all threads in turn. It grows with the number of batch sizes that it sees.
    """

    name = "paddle"
    runtime = "Paddle Inference"

    def __init__(self, file: BundleFile, *, threads: int | None = None) -> None:
        inference = import_paddle().inference
        program = file.path
        parameters = companion(file, ".json", ".pdiparams")
        _check(file, program, parameters)
        try:
            predictor = open_predictor(inference, program, parameters, threads=threads)
        except Exception as error:  # it raises classes of its own and RuntimeError
            raise loading_failed(file, self.runtime, error) from None
        super().__init__(file, predictor)

    def _compute(self, loaded: Any, batch: UInt8NHWC) -> Float32Logits:
        return run_predictor(loaded, batch)


def open_predictor(inference: Any, program: Path, parameters: Path, *, threads: int | None = None) -> Any:
    """Return a predictor of Paddle Inference on the CPU, with oneDNN."""
    config = inference.Config(str(program), str(parameters))
    config.disable_glog_info()
    config.disable_gpu()
    config.enable_mkldnn()
    config.set_mkldnn_cache_capacity(SHAPES_KEPT)
    config.set_cpu_math_library_num_threads(threads or usable_cores())
    return inference.create_predictor(config)


def run_predictor(predictor: Any, batch: NDArray[Any]) -> Float32Logits:
    """Return the only output of a predictor for its only input, float32 ``[N, C]``, in a new array."""
    (name,) = predictor.get_input_names()
    source = predictor.get_input_handle(name)
    source.reshape(batch.shape)
    source.copy_from_cpu(batch)
    predictor.run()
    (name,) = predictor.get_output_names()
    return np.array(predictor.get_output_handle(name).copy_to_cpu(), np.float32)


def import_paddle() -> Any:
    """Import and return ``paddle``.

    Raises:
        MissingExtraError: it is not installed, of another major version, or lacks a package that it does not
            declare (setuptools); the message says what to install.
    """
    try:
        with warnings.catch_warnings():
            # About compilers, for operators that nobody compiles here.
            warnings.simplefilter("ignore")
            paddle = require("paddle", extra="paddle")
    except ModuleNotFoundError as error:
        raise MissingExtraError(
            f"paddlepaddle needs the package {error.name!r}, which is not installed: "
            "pip install 'ghostclas[paddle]'"
        ) from None
    version = str(getattr(paddle, "__version__", "of no version"))
    if not re.match(r"3\.[1-9]", version):
        raise MissingExtraError(
            f"paddlepaddle 3.1 or later is needed, and {version} is installed: "
            "pip install 'ghostclas[paddle]'"
        )
    return paddle


def _check(file: BundleFile, program: Path, parameters: Path) -> None:
    try:
        outside, tensors = read_files(program, parameters)
        check_operators(outside, OPERATORS.__contains__)
        check_parameters(outside, tensors)
    except ValueError as error:
        raise BundleError(
            f"{file.bundle.path}: {file.entry.path} is refused and was not run: it holds {error}; get the "
            "bundle from its maker again, or export it again"
        ) from None

    def ports(variables: tuple[Variable, ...]) -> list[Port]:
        return [Port(variable.name, variable.dtype, variable.shape) for variable in variables]

    check_signature(file, PaddleEngine.runtime, ports(outside.inputs), ports(outside.outputs))
