"""The network of a bundle as training continues from it: ``weights.safetensors``.

It holds the whole state dict, norms apart, by the names of the network. In an fp16 bundle its matrices are
float16 numbers. Bundles of the compact form lack them; see ``models.compact``.
"""

from __future__ import annotations

import json

import safetensors
import safetensors.torch
import torch
from torch import Tensor, nn

from ghostclas.bundle import WEIGHTS, Bundle
from ghostclas.errors import BundleError
from ghostclas.models.compact import compact_matrices, is_compact


def save_state(model: nn.Module, *, half: bool = False) -> bytes:
    """Return the content of ``weights.safetensors``; ``half`` stores matrices as float16."""
    return safetensors.torch.save(
        {
            name: (tensor.half() if half and tensor.ndim > 1 else tensor).detach().cpu().contiguous()
            for name, tensor in model.state_dict().items()
        }
    )


def bundle_state(bundle: Bundle) -> dict[str, Tensor]:
    """Return the state dict from which the network of a bundle can be trained on, floating ones as float32.

    Raises:
        BundleError: the files do not verify, or do not hold it.
        MissingExtraError: the bundle is compact, and the package that reads its ONNX file is not installed.
    """
    content = bundle.read(WEIGHTS)
    try:
        stored = safetensors.torch.load(content)
        header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
        notes = header.get("__metadata__", {})
        notes = dict(notes)
    except Exception as error:  # of another package and of json, which depends on where the damage is
        raise BundleError(
            f"{bundle.path}: {WEIGHTS} is not a complete safetensors file ({str(error)[:160]})"
        ) from None
    state = {name: value.float() if value.dtype == torch.float16 else value for name, value in stored.items()}
    return state | compact_matrices(bundle, state, notes) if is_compact(notes) else state
