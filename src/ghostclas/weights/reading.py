"""The tensors of a file of weights, by our names, from any of the layouts they come in.

Nothing that a file contains is run: ``.pdparams`` goes through ``pdparams``, ``.pth`` through torch's
``weights_only`` reader, and safetensors is plain data.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ghostclas.errors import BundleError
from ghostclas.families import FAMILIES, WeightLayout
from ghostclas.weights.pdparams import read_pdparams

State = dict[str, Tensor]

CLASSIFIER = ("classifier.weight", "classifier.bias")
COUNTER = "num_batches_tracked"
LISTED_NAMES = 6

LAYOUTS: Sequence[WeightLayout] = (
    WeightLayout("ghostclas", ("stem.conv.weight",), {}),
    *(layout for family in FAMILIES.values() for layout in family.weight_layouts),
)

# Where training scripts put the network among other things, best first, and what wrappers put before names.
_CONTAINERS = ("ema", "state_dict_ema", "model", "state_dict")
_WRAPPERS = ("module.", "_orig_mod.", "_layers.", "Student.")


def read_weights(file: str | Path) -> State:
    """Return the weights in ``file`` by our names, in our layout, floating ones as float32 on the CPU.

    ``file`` is a PaddleClas ``.pdparams``, a ``.pth`` or ``.safetensors`` with the names of timm, the
    original or ours, or a checkpoint of a run (its averaged weights, if any).

    Raises:
        BundleError: missing, damaged or unknown file, one that asks for more than tensors, or weights of
            another network.
    """
    file = Path(file)
    if not file.is_file():
        raise BundleError(f"{file}: no such file of weights")
    for suffixes, read in _READERS.items():
        if file.name.lower().endswith(suffixes):
            return _to_ours(read(file), file)
    known = ", ".join(suffix for suffixes in _READERS for suffix in suffixes)
    raise BundleError(f"{file}: no weights can be read from this type of file; known are {known}")


def listed(title: str, names: Sequence[str]) -> list[str]:
    """Return a line for an error that names the first of ``names`` and counts the others, or no line."""
    if not names:
        return []
    more = f" and {len(names) - LISTED_NAMES} more" if len(names) > LISTED_NAMES else ""
    return [f"{title}: {', '.join(names[:LISTED_NAMES])}{more}"]


def _read_paddle(file: Path) -> State:
    arrays = read_pdparams(file)
    return {
        name: torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
        for name, array in arrays.items()
    }


def _read_torch(file: Path) -> Any:
    try:
        return torch.load(file, map_location="cpu", weights_only=True)
    except OSError as error:
        raise BundleError(f"{file}: cannot be read: {error.strerror}") from None
    # What a damaged archive raises depends on where it was cut; torch documents none of it.
    except (pickle.UnpicklingError, RuntimeError, EOFError, LookupError, TypeError, ValueError) as error:
        refused = re.search(r"(?:GLOBAL|class|function) (\S+\.\S+)", str(error))
        if refused:
            name = refused[1].rstrip(",.:")
            raise BundleError(f"{file}: refused to construct {name}; nothing was run") from None
        raise BundleError(f"{file}: not a complete file of weights as torch.save writes them") from None


def _read_safetensors(file: Path) -> State:
    try:
        return load_file(file)
    except (SafetensorError, OSError) as error:
        raise BundleError(f"{file}: not a complete safetensors file ({error})") from None


_READERS: Mapping[tuple[str, ...], Callable[[Path], Any]] = {
    (".pdparams",): _read_paddle,
    (".pth", ".pt", ".pth.tar", ".ckpt", ".bin"): _read_torch,
    (".safetensors",): _read_safetensors,
}


def _to_ours(content: Any, file: Path) -> State:
    state = _unwrapped(_state_dict(content, file))
    layouts = [layout for layout in LAYOUTS if state.keys() >= set(layout.markers)]
    if not layouts:
        found = ", ".join(list(state)[:3]) or "nothing"
        raise BundleError(f"{file}: these are not the weights of a GhostNet (found {found}, ...)")
    layout = max(layouts, key=lambda layout: len(layout.markers))
    ours: State = {}
    for theirs, tensor in state.items():
        if theirs.rpartition(".")[2] in layout.ignored:
            continue
        name = layout.translate(theirs)
        if name in ours:
            raise BundleError(f"{file}: holds {name} twice, the second time as {theirs}")
        if layout.linear_in_out and tensor.ndim == 2:
            tensor = tensor.t() if name in CLASSIFIER else tensor.t()[:, :, None, None]
        if not tensor.is_floating_point() and not name.endswith(COUNTER):
            raise BundleError(f"{file}: {theirs} holds {tensor.dtype}, not floating-point weights")
        ours[name] = tensor.float().contiguous() if tensor.is_floating_point() else tensor
    return ours


def _state_dict(content: Any, file: Path) -> State:
    for container in _CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(container), dict):
            content = content[container]
            break
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise BundleError(f"{file}: holds no state dict")
    others = [name for name, value in content.items() if not isinstance(value, Tensor)]
    if others:
        raise BundleError("\n       ".join([f"{file}: holds no state dict", *listed("not tensors", others)]))
    return content


def _unwrapped(state: State) -> State:
    for wrapper in _WRAPPERS:
        if state and all(name.startswith(wrapper) for name in state):
            return _unwrapped({name.removeprefix(wrapper): value for name, value in state.items()})
    return state
