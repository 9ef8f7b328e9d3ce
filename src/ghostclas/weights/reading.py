"""The tensors of a file of weights, by our names, from any of the layouts they come in.

Nothing that a file contains is run: ``.pdparams`` goes through ``pdparams``, ``.pth`` through torch's
``weights_only`` reader, and safetensors is plain data.
"""

from __future__ import annotations

import io
import pickletools
import re
import warnings
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from ghostclas.errors import BundleError, GhostclasError
from ghostclas.families import FAMILIES, WeightLayout
from ghostclas.files import is_file
from ghostclas.weights.pdparams import MAX_BYTES, read_pdparams
from ghostclas.weights.sealed import check_seal

MAX_WORD = 4_000
"""The most characters without a space in the pickle of a ``.pth``; the longest names have a hundred."""

_PICKLES = 5
"""A file of the form before archives begins with so many."""

State = dict[str, Tensor]

CLASSIFIER = ("classifier.weight", "classifier.bias")
COUNTER = "num_batches_tracked"
LISTED_NAMES = 6
_DETAIL_SIGNS = 160
_MESSAGE_SIGNS = 10_000

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
    if not is_file(file):
        raise BundleError(f"{file}: no such file of weights")
    for suffixes, (read, kind) in _READERS.items():
        if file.name.lower().endswith(suffixes):
            with _errors_of(file, kind):
                return _to_ours(read(file), file)
    known = ", ".join(suffix for suffixes in _READERS for suffix in suffixes)
    raise BundleError(f"{file}: no weights can be read from this type of file; known are {known}")


def listed(title: str, names: Sequence[str]) -> list[str]:
    """Return a line for an error that names the first of ``names`` and counts the others, or no line."""
    if not names:
        return []
    more = f" and {len(names) - LISTED_NAMES} more" if len(names) > LISTED_NAMES else ""
    return [f"{title}: {', '.join(name[:_DETAIL_SIGNS] for name in names[:LISTED_NAMES])}{more}"]


def _read_paddle(file: Path) -> State:
    return {
        name: torch.from_numpy(np.array(array, dtype=array.dtype.newbyteorder("="), order="C"))
        for name, array in read_pdparams(file).items()
    }


def read_torch(file: str | Path) -> Any:
    """Return what ``torch.save`` wrote to ``file``: tensors, numbers, text and plain containers.

    Raises:
        BundleError: missing or damaged file, or one that asks for more.
    """
    file = Path(file)
    if not is_file(file):
        raise BundleError(f"{file}: no such file of weights")
    with _errors_of(file, _TORCH):
        return _read_torch(file)


@contextmanager
def _errors_of(file: Path, kind: str) -> Iterator[None]:
    """Refuse a file that is too large, and turn whatever reading it raises into a BundleError."""
    try:
        if file.stat().st_size > MAX_BYTES:
            raise BundleError(f"{file}: larger than {MAX_BYTES >> 30} GiB, which no GhostNet is")
        yield
    except GhostclasError:
        raise
    except Exception as error:  # what a damaged file raises depends on where the damage is
        raise _failure(error, file, kind) from None


def _read_torch(file: Path) -> Any:
    check_seal(file)
    if zipfile.is_zipfile(file):
        _check_archive(file)
        content: Path | io.BytesIO = file
    else:
        # The form before archives is read from memory: of a file, as many bytes as a number in it says are
        # reserved.
        content = io.BytesIO(file.read_bytes())
        _check_pickles(content)
    with warnings.catch_warnings():
        # About storages of old versions: nothing that a person who loads weights could change.
        warnings.simplefilter("ignore")
        return torch.load(content, map_location="cpu", weights_only=True)


class _LongWordError(ValueError):
    pass


def _check_archive(file: Path) -> None:
    """Refuse an archive that would unpack to more than it holds; ``torch.save`` compresses nothing.

    Long words in its pickle are refused, too; see ``_check_words``.
    """
    with zipfile.ZipFile(file) as archive:
        members = archive.infolist()
        if any(member.compress_type != zipfile.ZIP_STORED for member in members):
            raise ValueError("compressed members, which torch.save does not write")
        if sum(member.file_size for member in members) > file.stat().st_size:
            raise ValueError("members larger than the file that holds them")
        for member in members:
            if member.filename.endswith("data.pkl"):
                _check_words(archive.read(member))


def _check_pickles(content: io.BytesIO) -> None:
    """Check the words of the pickles that the former form begins with; what follows them is no pickle."""
    for _ in range(_PICKLES):
        try:
            _check_words(content)
        except _LongWordError:
            raise
        except Exception:  # what is no pickle is left to torch.load
            break
    content.seek(0)


def _check_words(pickled: bytes | io.BytesIO) -> None:
    """Refuse long words: ``torch.load`` searches its own messages, which repeat them, in quadratic time."""
    for _, argument, _ in pickletools.genops(pickled):
        if isinstance(argument, str) and max(map(len, argument.split()), default=0) > MAX_WORD:
            raise _LongWordError(f"a name of more than {MAX_WORD:,} characters")


def _failure(error: Exception, file: Path, kind: str) -> BundleError:
    """Return what is told for whatever a reader of another package raised."""
    if isinstance(error, OSError):
        return BundleError(f"{file}: cannot be read: {error.strerror or error}")
    if isinstance(error, MemoryError):
        return BundleError(f"{file}: asks for more memory than there is")
    text = " ".join(str(error)[:_MESSAGE_SIGNS].split())
    refused = re.search(r"(?:GLOBAL|class|function) (\S+\.\S+)", text)
    if refused:
        name = refused[1].rstrip(",.:")[:_DETAIL_SIGNS]
        return BundleError(f"{file}: refused to construct {name}; nothing was run")
    detail = f" ({text[:_DETAIL_SIGNS]})" if isinstance(error, ValueError | SafetensorError) and text else ""
    return BundleError(f"{file}: not a complete {kind}{detail}")


_TORCH = "file of weights as torch.save writes them"
_READERS: Mapping[tuple[str, ...], tuple[Callable[[Path], Any], str]] = {
    (".pdparams",): (_read_paddle, "file of weights as paddle.save writes them"),
    (".pth", ".pt", ".pth.tar", ".ckpt", ".bin"): (_read_torch, _TORCH),
    (".safetensors",): (load_file, "safetensors file"),
}


def _to_ours(content: Any, file: Path) -> State:
    state = _unwrapped(_state_dict(content, file))
    layouts = [layout for layout in LAYOUTS if state.keys() >= set(layout.markers)]
    if not layouts:
        found = ", ".join(name[:_DETAIL_SIGNS] for name in list(state)[:3]) or "nothing"
        raise BundleError(f"{file}: these are not the weights of a GhostNet (found {found}, ...)")
    layout = max(layouts, key=lambda layout: len(layout.markers))
    ours: State = {}
    for theirs, tensor in state.items():
        if theirs.rpartition(".")[2] in layout.ignored:
            continue
        name = layout.translate(theirs)
        if name in ours:
            shown = theirs[:_DETAIL_SIGNS]
            raise BundleError(f"{file}: holds {name[:_DETAIL_SIGNS]} twice, the second time as {shown}")
        if layout.linear_in_out and tensor.ndim == 2:
            tensor = tensor.t() if name in CLASSIFIER else tensor.t()[:, :, None, None]
        if not tensor.is_floating_point() and not name.endswith(COUNTER):
            shown = theirs[:_DETAIL_SIGNS]
            raise BundleError(f"{file}: {shown} holds {tensor.dtype}, not floating-point weights")
        ours[name] = tensor.float().contiguous() if tensor.is_floating_point() else tensor
    return ours


def _state_dict(content: Any, file: Path) -> State:
    for container in _CONTAINERS:
        if isinstance(content, dict) and isinstance(content.get(container), dict):
            content = content[container]
            break
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise BundleError(f"{file}: holds no state dict")
    others = [name for name, value in content.items() if not _is_plain(value)]
    if others:
        raise BundleError("\n       ".join([f"{file}: holds no state dict", *listed("not tensors", others)]))
    # A tensor may show one number many times: its size is not that of what the file holds.
    if sum(tensor.numel() * tensor.element_size() for tensor in content.values()) > file.stat().st_size:
        raise BundleError(f"{file}: refused tensors larger than the file that holds them")
    return content


def _is_plain(value: Any) -> bool:
    return (
        isinstance(value, Tensor)
        and value.layout == torch.strided
        and value.device.type == "cpu"
        and not value.is_quantized
    )


def _unwrapped(state: State) -> State:
    for wrapper in _WRAPPERS:
        if state and all(name.startswith(wrapper) for name in state):
            return _unwrapped({name.removeprefix(wrapper): value for name, value in state.items()})
    return state
