"""Loading of weights into a network, from a file, a bundle or a run."""

from __future__ import annotations

from pathlib import Path

from torch import nn

from ghostclas.errors import BundleError
from ghostclas.models.saved import bundle_state
from ghostclas.weights.reading import CLASSIFIER, COUNTER, State, listed, read_weights
from ghostclas.zoo import locate

_DETAIL = "\n       "
_BRANCH = ".convs."


def load_state(path: str | Path) -> State:
    """Return the weights in ``path`` by our names, in our layout; floating ones as float32 on the CPU.

    ``path`` is a file of weights (see ``weights.reading``), a bundle or a run directory.

    Raises:
        BundleError: the file is missing, damaged or unknown, needs more than tensors, or has weights of
            another network.
    """
    path = Path(path)
    if not path.is_dir() and not path.name.lower().endswith(".zip"):
        return read_weights(path)
    state = bundle_state(locate(path).bundle())
    return {name: value.float() if value.is_floating_point() else value for name, value in state.items()}


def load_weights(model: nn.Module, path: str | Path, *, reset_classifier: bool = False) -> tuple[str, ...]:
    """Load the weights in ``path`` (see :func:`load_state`) into ``model``, all of them or none.

    With ``reset_classifier``, the classifier keeps its initial values if the file's has another number of
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
        lines += listed("missing", missing) + listed("not in the model", extra)
        lines += listed("of another shape", misshapen) + _hint(state, own)
        raise BundleError(_DETAIL.join(lines))
    model.load_state_dict(state, strict=False)
    return tuple(name for name in own if name not in state)


def _classes(state: State) -> int | None:
    weight = state.get(CLASSIFIER[0])
    return None if weight is None or weight.ndim == 0 else weight.shape[0]


def _hint(state: State, own: State) -> list[str]:
    """Return advice if the two differ in a known way."""
    # Only PaddleClas has a norm after the pooling; the original has a bias instead.
    flavours = {True: "paddleclas", False: "original"}
    theirs, ours = ("head.norm.weight" in state, "head.norm.weight" in own)
    if theirs != ours:
        return [f"the file is of flavour {flavours[theirs]!r} and the model of flavour {flavours[ours]!r}"]
    if state.get("stem.conv.weight", own["stem.conv.weight"]).shape != own["stem.conv.weight"].shape:
        return ["the file is of another width than the model"]
    if any(_BRANCH in name for name in own) and not any(_BRANCH in name for name in state):
        return ["its branches are merged into one convolution each; give weights from before the merge"]
    if _classes(state) not in (None, _classes(own)):
        return [
            f"the file has {_classes(state)} classes and the model {_classes(own)}: "
            "reset the classifier to use the rest"
        ]
    return []
