"""The last feature map of a bundle's ONNX file, beside its logits, and the head that follows.

The map is asked for when the file is opened, as one more output of the graph in memory. So every ONNX file
that has such a map gives it, and the file, its other engines and their speed stay as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostclas.bundle import Bundle, BundleFile
from ghostclas.engines.choice import FLOATS
from ghostclas.engines.contract import (
    Float32Logits,
    UInt8NHWC,
    check_images,
    closed,
    read_onnx,
    running,
)
from ghostclas.engines.file_engine import FileEngine
from ghostclas.engines.onnx_head import Head, read_head, with_output
from ghostclas.engines.onnxruntime import create_session, in_its_own_thread
from ghostclas.engines.trials import is_known, try_out
from ghostclas.errors import BundleError

_ENGINE = "onnxruntime"


class MapEngine(FileEngine):
    """An ONNX file in ONNX Runtime, with its last feature map as an output."""

    name = _ENGINE
    runtime = "ONNX Runtime"

    def __init__(self, file: BundleFile) -> None:
        assert file.entry.input is not None
        assert file.entry.output is not None
        content = read_onnx(file)
        try:
            self.head: Head = read_head(content, file.entry.output.name, len(file.bundle.classes))
        except ValueError as error:
            raise BundleError(
                f"{file.bundle.path}: {file.entry.path} has no feature map to explain its answers by: near "
                f"its end stands {error}"
            ) from None
        if not is_known(_ENGINE, file):
            try_out(_ENGINE, file)
        self._names = [file.entry.output.name, self.head.maps]
        self._input = file.entry.input.name
        super().__init__(file, in_its_own_thread(create_session, file, with_output(content, self.head.maps)))

    @classmethod
    def open(cls, bundle: Bundle) -> MapEngine:
        """Open the most precise ONNX file of a bundle.

        Raises:
            BundleError: it has none in floating point, or none that ends in a pooled feature map.
        """
        entries = [
            entry
            for precision in FLOATS
            for entry in bundle.manifest.files
            if (entry.format, entry.precision) == ("onnx", precision) and entry.input is not None
        ]
        return cls(BundleFile(bundle, entries[0]) if entries else bundle.file("onnx", FLOATS[0]))

    def _compute(self, loaded: Any, batch: UInt8NHWC) -> Float32Logits:
        return np.asarray(loaded.run(self._names[:1], {self._input: batch})[0], np.float32)

    def run_with_maps(self, images: UInt8NHWC) -> tuple[Float32Logits, NDArray[np.float32]]:
        """Return the logits, float32 ``[N, C]``, and the feature maps, float32 ``[N, K, H, W]``.

        Args:
            images: uint8 ``[N, H, W, 3]``, as ``Engine.run`` takes them; N is at least 1.

        Raises:
            UsageError: the images do not fit, or the engine is closed or was opened before a fork.
            BundleError: ONNX Runtime cannot run the file.
        """
        self._check_process()
        loaded = self._loaded
        if loaded is None:
            raise closed(self.name)
        batch = check_images(images, self._file.entry)
        with running(self._file, self.runtime):
            logits, maps = loaded.run(self._names, {self._input: batch})
        if maps.shape[:2] != (len(batch), self.head.channels) or maps.ndim != 4:
            raise BundleError(
                f"{self._file.bundle.path}: {self._file.entry.path} gives {list(maps.shape)} where a feature "
                f"map has {self.head.channels} channels; export it again"
            )
        return np.asarray(logits, np.float32), np.asarray(maps, np.float32)
