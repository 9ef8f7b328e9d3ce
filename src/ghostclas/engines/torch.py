"""PyTorch itself, for ``.pt2`` programs; the one engine that imports torch, and only when it is opened."""

from __future__ import annotations

import io
import json
import re
import zipfile
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
)
from ghostclas.errors import BundleError
from ghostclas.extras import require

_SIZE = re.compile(r"-?\d+|Symbol\('s\d+'(, (positive|integer|nonnegative)=True)*\)")
_PLAIN = re.compile(
    r"[^/]+/(data/weights/(weight_\d+|model_weights_config\.json)"
    r"|data/constants/(tensor_\d+|model_constants_config\.json)"
    r"|data/sample_inputs/model\.pt|models/model\.json|archive_format|archive_version|byteorder|\.data/(version|serialization_id))"
)


class TorchEngine:
    """A ``.pt2`` file in PyTorch. See ``ghostclas.engines.base.Engine``.

    ``threads`` has no effect: torch has one number of threads for the whole process, the caller's to set.
    """

    name = "torch"

    def __init__(self, file: BundleFile, *, threads: int | None = None) -> None:
        self._torch = require("torch", extra="export")
        self._file = file
        content = file.read()
        try:
            refuse_code(content, self._torch)
        except ValueError as error:
            raise BundleError(f"{file.bundle.path}: {file.entry.path}: {error}; nothing was loaded") from None
        try:
            program = self._torch.export.load(io.BytesIO(content))
            ports = _ports(program)
            self._module: Any = program.module()
        except Exception as error:  # whatever the reader of the format raises
            raise loading_failed(file, "PyTorch", error) from None
        check_signature(file, "PyTorch", *ports)

    def run(self, images: UInt8NHWC) -> Float32Logits:
        """Return the logits, float32 ``[N, C]``, of uint8 ``[N, H, W, 3]``."""
        module, torch, entry = self._module, self._torch, self._file.entry
        if module is None:
            raise closed(self.name)
        batch = check_images(images, entry)
        if len(batch) == 0:
            return no_logits(entry)
        with torch.inference_mode():
            logits = np.array(module(torch.tensor(batch)).numpy(), np.float32)
        return check_logits(logits, len(batch), self._file, self.name)

    def close(self) -> None:
        """Free the module; a batch that is running ends first."""
        self._module = None


def refuse_code(content: bytes, torch: Any) -> None:
    """Raise ValueError for a ``.pt2`` that holds more than a graph of PyTorch's operators and plain tensors.

    ``torch.export.load`` unpickles what the archive calls pickled, and sample inputs that ``weights_only``
    refuses, and evaluates expressions: all three can run anything.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(content)) as archive:
            names = archive.namelist()
            odd = [name for name in names if not _PLAIN.fullmatch(name)]
            if odd or len(set(names)) != len(names):
                raise ValueError(f"refused, because it holds {(odd or names)[0]!r}, which could carry code")
            configs = {
                name.partition("/")[2]: json.loads(archive.read(name))
                for name in names
                if name.endswith(".json")
            }
            samples = b"".join(
                archive.read(name) for name in names if name.endswith("/sample_inputs/model.pt")
            )
    except (zipfile.BadZipFile, json.JSONDecodeError, UnicodeDecodeError, NotImplementedError) as error:
        raise ValueError(f"not a complete .pt2 archive ({error})") from None
    if samples:
        try:
            torch.load(io.BytesIO(samples), weights_only=True)
        except Exception:  # torch would go on without the limit
            raise ValueError(
                "refused, because its sample inputs are a pickle that could carry code"
            ) from None
    for name, config in configs.items():
        _refuse_code_in(name, config)


def _refuse_code_in(name: str, value: Any) -> None:
    if isinstance(value, list):
        for item in value:
            _refuse_code_in(name, item)
        return
    if not isinstance(value, dict):
        return
    for key, item in value.items():
        target = key == "target" and isinstance(item, str) and not item.startswith("torch.ops.aten.")
        expression = key == "expr_str" and not (isinstance(item, str) and _SIZE.fullmatch(item))
        if target or expression or (key in ("use_pickle", "guards_code", "custom_obj_values") and item):
            raise ValueError(f"refused, because {key} in {name} could carry code: {str(item)[:80]!r}")
        _refuse_code_in(name, item)


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
