"""LiteRT (TensorFlow Lite): ``model.tflite``, made by litert-torch from the exported network.

It takes one uint8 photo at a time. ``fp16`` stores matrices in half precision; XNNPACK computes in float32.
``int8`` is static: weights, and activations between normalisation and logits. Class names and preprocessing
lie in a zip behind the graph, see ``metadata``.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from ghostclas.exporting.conversion import Conversion, Written, image_input, logits_output
from ghostclas.exporting.metadata import describe, describe_tflite
from ghostclas.extras import require

MATRICES = ("CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED")

NO_RANGE = 1e-6

OPERATIONS = {
    ".se.": "SqueezeExcite_se",
    ".stem.": "ConvNorm_stem",
    ".tail.": "ConvNorm_tail",
    ".head.": "Sequential_head",
    ".classifier.": "^serving_default_output",
}
"""Layers by their names in state dicts, and the output names of their operations in a ``.tflite``."""


def convert(job: Conversion) -> list[Written]:
    """Write the network for LiteRT."""
    litert_torch = require("litert_torch", extra="export-litert")
    interpreter = require("ai_edge_litert.interpreter", extra="litert")
    job.step("converting with litert-torch")
    example = torch.zeros(1, job.crop, job.crop, 3, dtype=torch.uint8)
    path = job.folder / job.name("model", ".tflite")
    litert_torch.convert(job.network, (example,)).export(str(path))
    if job.precision == "fp16":
        job.step("casting the weights with ai-edge-quantizer")
        _cast_to_fp16(path)
    if job.precision == "int8":
        job.step("quantizing with ai-edge-quantizer")
        _quantize(path, job)
    describe_tflite(path, describe(job.bundle.classes, job.bundle.preprocess))
    job.step("reading the file back")
    opened = interpreter.Interpreter(model_path=str(path))
    opened.allocate_tensors()
    (photos,), (logits,) = opened.get_input_details(), opened.get_output_details()
    return [
        Written(
            path=path.name,
            input=image_input(job.crop, batch=1, name=photos["name"]),
            output=logits_output(job.num_classes, batch=1, name=logits["name"]),
        )
    ]


def _cast_to_fp16(path: Path) -> None:
    """Store the matrices of a ``.tflite`` in half precision, each followed by a cast, in place."""
    quantizer = require("ai_edge_quantizer.quantizer", extra="export-litert")
    types = require("ai_edge_quantizer.qtyping", extra="export-litert")
    algorithms = require("ai_edge_quantizer.algorithm_manager", extra="export-litert")
    stored = types.TensorQuantizationConfig(num_bits=16, dtype=types.TensorDataType.FLOAT)
    config = types.OpQuantizationConfig(
        weight_tensor_config=stored, compute_precision=types.ComputePrecision.FLOAT, explicit_dequantize=True
    )
    casting = quantizer.Quantizer(str(path))
    for operation in MATRICES:
        casting.update_quantization_recipe(
            ".*", types.TFLOperationName[operation], config, algorithms.AlgorithmName.FLOAT_CASTING
        )
    half = casting.quantize().quantized_model
    path.write_bytes(half)


def _quantize(path: Path, job: Conversion) -> None:
    """Quantize a ``.tflite`` to int8, in place; ranges are the extremes over the calibration photos."""
    quantizer = require("ai_edge_quantizer.quantizer", extra="export-litert")
    types = require("ai_edge_quantizer.qtyping", extra="export-litert")
    algorithms = require("ai_edge_quantizer.algorithm_manager", extra="export-litert")
    assert job.quantization is not None
    operation, plain = types.TFLOperationName, algorithms.AlgorithmName.NO_QUANTIZE
    granularity = types.QuantGranularity.CHANNELWISE
    if not job.quantization.per_channel:
        granularity = types.QuantGranularity.TENSORWISE
    static = quantizer.Quantizer(str(path))
    static.add_static_config(".*", operation.ALL_SUPPORTED, 8, 8, weight_granularity=granularity)
    normalisation = f"{type(job.network).__name__};"
    for kept in (normalisation, *(OPERATIONS[part] for part in job.quantization.keep_float)):
        static.update_quantization_recipe(kept, operation.ALL_SUPPORTED, algorithm_key=plain)
    for port in (operation.INPUT, operation.OUTPUT):
        static.update_quantization_recipe(".*", port, algorithm_key=plain)
    photos = np.load(job.quantization.calibration, mmap_mode="r")
    ranges = static.calibrate({"serving_default": [{"args_0": np.array(photo[None])} for photo in photos]})
    for extremes in ranges.values():
        # XNNPACK refuses the scale of a constant activation, such as that of a dead layer.
        if np.max(extremes["max"]) - np.min(extremes["min"]) < NO_RANGE:
            extremes["max"] = extremes["max"] + 1
    path.write_bytes(static.quantize(ranges, enable_progress_report=False).quantized_model)
