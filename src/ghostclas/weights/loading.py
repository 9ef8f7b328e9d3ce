"""Published and trained weights, from any of the layouts they come in, into our networks.

Nothing that a file contains is run: ``.pdparams`` goes through ``pdparams``, ``.pth`` through torch's
``weights_only`` reader, and safetensors is plain data.
"""

from __future__ import annotations

import pickle
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor, nn

from ghostclas.errors import BundleError
from ghostclas.models.folded import bundle_state
from ghostclas.weights.pdparams import read_pdparams
from ghostclas.zoo import locate

State = dict[str, Tensor]

CLASSIFIER = ("classifier.weight", "classifier.bias")
COUNTER = "num_batches_tracked"
_SHOWN = 6
_DETAIL = "\n       "

PADDLECLAS_NAMES: Mapping[str, str] = {
    "conv1": "stem",
    "conv_last": "tail",
    "fc_0": "head",
    "fc_1": "classifier",
    **{f"_ghostbottleneck_{index}": f"blocks.{index}" for index in range(16)},
    "ghost_module_1": "expand",
    "depthwise_conv": "depthwise",
    "se_block.squeeze": "se.reduce",
    "se_block.excitation": "se.expand",
    "ghost_module_2": "project",
    "shortcut_depthwise": "shortcut.0",
    "shortcut_conv": "shortcut.1",
    "primary_conv": "primary",
    "cheap_operation": "cheap",
    "_conv": "conv",
    "_batch_norm": "norm",
    "_mean": "running_mean",
    "_variance": "running_var",
}

# The original groups its blocks into stages of these lengths, and keeps the last convolution as a tenth.
_ORIGINAL_STAGES = (1, 1, 1, 1, 1, 1, 5, 1, 4)
_ORIGINAL_BLOCKS = [
    f"blocks.{stage}.{index}" for stage, length in enumerate(_ORIGINAL_STAGES) for index in range(length)
]
ORIGINAL_NAMES: Mapping[str, str] = {
    "conv_stem": "stem.conv",
    "bn1": "stem.norm",
    "blocks.9.0.conv": "tail.conv",
    "blocks.9.0.bn1": "tail.norm",
    "conv_head": "head.conv",
    **{theirs: f"blocks.{index}" for index, theirs in enumerate(_ORIGINAL_BLOCKS)},
    "ghost1": "expand",
    "ghost2": "project",
    "primary_conv.0": "primary.conv",
    "primary_conv.1": "primary.norm",
    "cheap_operation.0": "cheap.conv",
    "cheap_operation.1": "cheap.norm",
    "conv_dw": "depthwise.conv",
    "bn_dw": "depthwise.norm",
    "se.conv_reduce": "se.reduce",
    "se.conv_expand": "se.expand",
    "shortcut.0": "shortcut.0.conv",
    "shortcut.1": "shortcut.0.norm",
    "shortcut.2": "shortcut.1.conv",
    "shortcut.3": "shortcut.1.norm",
}

# efficientnet-lite-pytorch numbers norms, and its first block, which does not widen, as the others.
EFFICIENTNET_LITE_NAMES: Mapping[str, str] = {
    "_conv_stem": "stem.conv",
    "_bn0": "stem.norm",
    "_conv_head": "tail.conv",
    "_bn1": "tail.norm",
    "_fc": "classifier",
    **{
        f"_blocks.{index}.{theirs}": f"blocks.{index}.{ours}"
        for index in range(24)
        for theirs, ours in {
            "_expand_conv": "expand.conv",
            "_bn0": "expand.norm",
            "_depthwise_conv": "depthwise.conv",
            "_bn1": "depthwise.norm",
            "_project_conv": "project.conv",
            "_bn2": "project.norm",
        }.items()
    },
}


@dataclass(frozen=True)
class Layout:
    """How somebody names and stores the tensors of a network.

    A file has this layout when it holds ``marker``. ``names`` maps whole dotted parts of their names to ours.
    ``linear_in_out``: their fully connected weights are ``[in, out]``, and squeeze-and-excitation uses them
    where we have 1x1 convolutions. ``ignored`` names counters that profilers leave behind.
    """

    name: str
    marker: str
    names: Mapping[str, str]
    linear_in_out: bool = False
    ignored: Sequence[str] = ()

    def translate(self, name: str) -> str:
        """Return our name for their ``name``; an unknown one comes back as it is."""
        return self._pattern().sub(lambda match: self.names[match[0]], name) if self.names else name

    def _pattern(self) -> re.Pattern[str]:
        longest_first = sorted(self.names, key=len, reverse=True)
        return re.compile(rf"(?<!\w)(?:{'|'.join(map(re.escape, longest_first))})(?!\w)")


LAYOUTS: Sequence[Layout] = (
    Layout("ghostclas", "stem.conv.weight", {}),
    Layout("PaddleClas", "conv1._conv.weight", PADDLECLAS_NAMES, linear_in_out=True),
    Layout("timm or original", "conv_stem.weight", ORIGINAL_NAMES, ignored=("total_ops", "total_params")),
    Layout("efficientnet-lite-pytorch", "_conv_stem.weight", EFFICIENTNET_LITE_NAMES),
)

# Where training scripts put the network among other things, best first, and what wrappers put before names.
_CONTAINERS = ("ema", "state_dict_ema", "model", "state_dict")
_WRAPPERS = ("module.", "_orig_mod.", "_layers.", "Student.")


def load_state(path: str | Path) -> State:
    """Return the weights in ``path`` by our names, in our layout, floating ones as float32 on the CPU.

    ``path`` is a PaddleClas ``.pdparams``, a ``.pth`` or ``.safetensors`` with the names of timm, the
    original or ours, a checkpoint of a run (its averaged weights, if any), a bundle or a run directory.

    Raises:
        BundleError: missing, damaged or unknown file, one that asks for more than tensors, or weights of
            another network.
    """
    path = Path(path)
    if path.is_dir() or path.name.lower().endswith(".zip"):
        return _to_ours(_read_bundle(path), path)
    if not path.is_file():
        raise BundleError(f"{path}: no such file of weights")
    for suffixes, read in _READERS.items():
        if path.name.lower().endswith(suffixes):
            return _to_ours(read(path), path)
    known = ", ".join(suffix for suffixes in _READERS for suffix in suffixes)
    raise BundleError(f"{path}: no weights can be read from this type of file; known are {known}")


def load_weights(model: nn.Module, path: str | Path, *, reset_classifier: bool = False) -> tuple[str, ...]:
    """Load the weights in ``path`` (see :func:`load_state`) into ``model``, all of them or none.

    With ``reset_classifier``, the classifier keeps its initial values when the file's has another number of
    classes. Batch counters may be absent. Returns the names that kept their initial values for either reason.

    Raises:
        BundleError: as :func:`load_state`, or names are missing, unknown or of another shape; it lists them.
    """
    state = load_state(path)
    own: State = model.state_dict()
    if reset_classifier and _classes(state) != _classes(own):
        state = {name: value for name, value in state.items() if name not in CLASSIFIER}
        optional = set(CLASSIFIER)
    else:
        optional = set()
    optional |= {name for name in own if name.endswith(COUNTER)}
    missing = [name for name in own if name not in state and name not in optional]
    extra = [name for name in state if name not in own]
    misshapen = [
        f"{name} {list(value.shape)}, not {list(own[name].shape)}"
        for name, value in state.items()
        if name in own and value.shape != own[name].shape
    ]
    if missing or extra or misshapen:
        lines = [f"{path}: these weights do not fit the model"]
        lines += _listed("missing", missing) + _listed("not in the model", extra)
        lines += _listed("of another shape", misshapen) + _hint(state, own)
        raise BundleError(_DETAIL.join(lines))
    model.load_state_dict(state, strict=False)
    return tuple(name for name in own if name not in state)


def _read_bundle(path: Path) -> State:
    return bundle_state(locate(path).bundle())


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
    layout = next((layout for layout in LAYOUTS if layout.marker in state), None)
    if layout is None:
        found = ", ".join(list(state)[:3]) or "nothing"
        raise BundleError(f"{file}: these are not the weights of a GhostNet (found {found}, ...)")
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
        raise BundleError(_DETAIL.join([f"{file}: holds no state dict", *_listed("not tensors", others)]))
    return content


def _unwrapped(state: State) -> State:
    for wrapper in _WRAPPERS:
        if state and all(name.startswith(wrapper) for name in state):
            return _unwrapped({name.removeprefix(wrapper): value for name, value in state.items()})
    return state


def _classes(state: State) -> int | None:
    weight = state.get(CLASSIFIER[0])
    return None if weight is None or weight.ndim == 0 else weight.shape[0]


def _listed(title: str, names: Sequence[str]) -> list[str]:
    if not names:
        return []
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return [f"{title}: {', '.join(names[:_SHOWN])}{more}"]


def _hint(state: State, own: State) -> list[str]:
    """Say what to do where the two differ in one of the ways that have a name."""
    # Only PaddleClas normalises after the pooling; only the original has a bias there instead.
    flavours = {True: "paddleclas", False: "original"}
    theirs, ours = ("head.norm.weight" in state, "head.norm.weight" in own)
    if theirs != ours:
        return [f"the file is of flavour {flavours[theirs]!r} and the model of flavour {flavours[ours]!r}"]
    if state.get("stem.conv.weight", own["stem.conv.weight"]).shape != own["stem.conv.weight"].shape:
        return ["the file is of another width than the model"]
    if _classes(state) not in (None, _classes(own)):
        return [
            f"the file has {_classes(state)} classes and the model {_classes(own)}: "
            "reset the classifier to use the rest"
        ]
    return []
