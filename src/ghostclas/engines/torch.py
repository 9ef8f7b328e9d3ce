"""PyTorch itself, for ``.pt2`` programs; the one engine that imports torch, and only when it is opened."""

from __future__ import annotations

import io
from typing import Any

import numpy as np

from ghostclas.bundle import BundleFile
from ghostclas.engines.base import (
    Float32Logits,
    Port,
    UInt8NHWC,
    check_images,
    check_logits,
    check_signature,
    closed,
    loading_failed,
    no_logits,
    running,
)
from ghostclas.engines.pt2 import plain_program
from ghostclas.errors import BundleError, GhostclasError
from ghostclas.extras import require


class TorchEngine:
    """A ``.pt2`` file in PyTorch. See ``ghostclas.engines.base.Engine``.

    ``threads`` has no effect: torch has one number of threads for the whole process, the caller's to set.
    """

    name = "torch"
    runtime = "PyTorch"

    def __init__(self, file: BundleFile, *, threads: int | None = None) -> None:
        self._torch = require("torch", extra="export")
        self._file = file
        try:
            program = plain_program(file.read())
        except ValueError as error:
            raise BundleError(f"{file.bundle.path}: {file.entry.path}: {error}; nothing was loaded") from None
        try:
            loaded = self._torch.export.load(io.BytesIO(program))
            check_signature(file, self.runtime, *_ports(loaded))
            self._module: Any = self._callable(loaded)
        except GhostclasError:
            raise
        except Exception as error:  # whatever the reader of the format raises
            raise loading_failed(file, self.runtime, error) from None

    def _callable(self, loaded: Any) -> Any:
        """Return what takes a uint8 tensor to logits."""
        return loaded.module()

    def run(self, images: UInt8NHWC) -> Float32Logits:
        """Return the logits, float32 ``[N, C]``, of uint8 ``[N, H, W, 3]``."""
        module, torch, entry = self._module, self._torch, self._file.entry
        if module is None:
            raise closed(self.name)
        batch = check_images(images, entry)
        if len(batch) == 0:
            return no_logits(entry)
        with torch.inference_mode(), running(self._file, self.runtime):
            logits = np.array(module(torch.tensor(batch)).numpy(), np.float32)
        return check_logits(logits, len(batch), self._file, self.name)

    def close(self) -> None:
        """Free the module; a batch that is running ends first."""
        self._module = None


def _ports(program: Any) -> tuple[list[Port], list[Port]]:
    values = {node.name: node.meta.get("val") for node in program.graph.nodes}
    signature = program.graph_signature

    def ports(names: Any) -> list[Port]:
        return [
            Port(
                name,
                str(values[name].dtype).removeprefix("torch."),
                [size if isinstance(size, int) else None for size in values[name].shape],
            )
            for name in names
        ]

    inputs, outputs = ports(signature.user_inputs), ports(signature.user_outputs)
    # Outputs are called after the operator that makes them; the bundle calls them by their meaning.
    return inputs, [port._replace(name="logits") for port in outputs]
