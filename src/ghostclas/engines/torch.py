"""PyTorch itself, for ``.pt2`` programs; the one engine that imports torch, and only when it is opened."""

from __future__ import annotations

import io
from collections.abc import Iterable
from typing import Any

import numpy as np

from ghostclas.bundle import BundleFile, OutputRole, TensorSpec
from ghostclas.engines.contract import Float32Logits, Port, UInt8NHWC, check_signature, loading_failed
from ghostclas.engines.file_engine import FeatureFileEngine
from ghostclas.engines.pt2 import plain_program
from ghostclas.errors import BundleError, GhostclasError
from ghostclas.extras import require


class TorchEngine(FeatureFileEngine):
    """A ``.pt2`` file in PyTorch. See ``ghostclas.engines.contract.Engine``.

    ``threads`` has no effect: torch has one number of threads for the whole process, the caller's to set.
    """

    name = "torch"
    runtime = "PyTorch"

    def __init__(self, file: BundleFile, *, threads: int | None = None) -> None:
        self._torch = require("torch", extra="export")
        try:
            content = plain_program(file.read())
        except ValueError as error:
            raise BundleError(f"{file.bundle.path}: {file.entry.path}: {error}; nothing was loaded") from None
        try:
            program = self._torch.export.load(io.BytesIO(content))
            check_signature(file, self.runtime, *_ports(program, file.entry.outputs.values()))
            module = self._module(file, program)
        except GhostclasError:
            raise
        except Exception as error:  # whatever the reader of the format raises
            raise loading_failed(file, self.runtime, error) from None
        super().__init__(file, module)

    def _module(self, file: BundleFile, program: Any) -> Any:
        """Return what takes a uint8 tensor to the outputs: one tensor, or a tuple of several."""
        return program.module()

    def _output(self, loaded: Any, batch: UInt8NHWC, role: OutputRole) -> Float32Logits:
        roles = list(self._file.entry.outputs)
        with self._torch.inference_mode():
            answer = loaded(self._torch.tensor(batch))
            rows = answer if len(roles) == 1 else answer[roles.index(role)]
            return np.array(rows.numpy(), np.float32)


def _ports(program: Any, declared: Iterable[TensorSpec]) -> tuple[list[Port], list[Port]]:
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
    # Outputs are called after the operator that makes them; the bundle calls them by their role, in order.
    named = [port._replace(name=known.name) for port, known in zip(outputs, declared, strict=False)]
    return inputs, [*named, *outputs[len(named) :]]
