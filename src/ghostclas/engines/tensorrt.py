"""TensorRT on an NVIDIA GPU, through ONNX Runtime's provider; see docs/export.md for what it needs."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ghostclas.bundle import BundleFile
from ghostclas.engines.onnxruntime import OnnxRuntimeEngine
from ghostclas.errors import MissingExtraError
from ghostclas.extras import require

LARGEST_BATCH = 64


class TensorRTEngine(OnnxRuntimeEngine):
    """An ``.onnx`` file in TensorRT. See ``ghostclas.engines.contract.Engine``.

    Arithmetic is float32. Engines are built while loading, which takes up to minutes, for batches of 1 to 64;
    a larger batch makes TensorRT build again. ``threads`` is for the host's part.
    """

    name = "tensorrt"

    def _providers(self, file: BundleFile) -> Sequence[Any]:
        import onnxruntime as ort

        require("tensorrt", extra="tensorrt")
        provider = "TensorrtExecutionProvider"
        if provider not in ort.get_available_providers():
            raise MissingExtraError(
                "the onnxruntime that is installed here knows no TensorRT: pip uninstall onnxruntime, then "
                "pip install onnxruntime-gpu"
            )
        port = file.entry.input
        assert port is not None
        sides = f"{port.size('H')}x{port.size('W')}x3"
        shapes = {
            "trt_profile_min_shapes": f"{port.name}:1x{sides}",
            "trt_profile_opt_shapes": f"{port.name}:8x{sides}",
            "trt_profile_max_shapes": f"{port.name}:{LARGEST_BATCH}x{sides}",
        }
        return [(provider, {"trt_fp16_enable": "0", **shapes}), "CUDAExecutionProvider"]
