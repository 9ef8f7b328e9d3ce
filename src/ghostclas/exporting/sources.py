"""Opening of what can be exported: a bundle, a run, published weights by name, or a file of weights."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from ghostclas.bundle import Bundle
from ghostclas.data.classes import MAX_CLASSES_BYTES
from ghostclas.errors import BundleError, DataError, UsageError
from ghostclas.exporting.trained import Trained, imagenet_classes
from ghostclas.exporting.untrained import untrained
from ghostclas.files import read_regular
from ghostclas.loading import load_state, load_weights
from ghostclas.models.registry import create_model
from ghostclas.models.saved import bundle_state
from ghostclas.spec import ModelSpec
from ghostclas.weights.reading import COUNTER
from ghostclas.zoo import TIMM, ZOO, locate, resolve_spec

IMAGENET_CLASSES = 1000


def open_trained(
    model: str | Path, *, network: str | None = None, classes: str | Path | None = None
) -> Trained:
    """Load the network that ``model`` names.

    Args:
        model: ``default``, a bundle, a run directory, a file of weights (see ``weights.reading``) or the name
            of published weights, which are downloaded once. ``timm:NAME`` is a network of timm with random
            weights; see ``exporting.untrained``.
        network: the network of a file of weights, by name; recognised from the shapes when absent.
        classes: a text file with one class name a line. Bundles and runs have their own; 1000 classes are
            ImageNet's when absent, whose names the package timm has.

    Raises:
        UsageError: there is no such model, its network is not recognised, or its class names are unknown.
        BundleError: a bundle or weights do not verify, or do not fit the network.
        DataError: the list of classes does not have one name for every output, or the download failed.
    """
    located = locate(model)
    if located.name.startswith(TIMM):
        return untrained(located.name)
    if located.kind in ("bundle", "run"):
        return _from_bundle(located.bundle(), classes)
    weights = located.weights()
    if located.kind == "weights":
        return _from_weights(weights, network, classes, {"weights": weights.name})
    entry = ZOO.get(located.name)
    source = {"weights": entry.url, "published_by": entry.origin} if entry else {"weights": weights.name}
    return _from_weights(weights, located.name, classes, source)


def recognise(weights: str | Path) -> ModelSpec:
    """Return the network of the zoo that has exactly the tensors of this file of weights.

    Raises:
        UsageError: no network has them; the user must name it.
    """
    state = load_state(weights)
    shapes = _shapes(state)
    for entry in ZOO.values():
        spec = resolve_spec(entry.name, num_classes=_outputs(state, weights))
        with torch.device("meta"):
            wanted = _shapes(create_model(spec).state_dict())
        if wanted == shapes:
            return spec
    raise UsageError(f"{weights} fits no network of the zoo: name its network, such as ghostnet_x0_75")


def _from_bundle(bundle: Bundle, classes: str | Path | None) -> Trained:
    if classes is not None:
        raise UsageError(f"{bundle.path} names its own classes; a list of classes is for files of weights")
    manifest = bundle.manifest
    network = create_model(bundle.spec)
    network.load_state_dict(bundle_state(bundle))
    return Trained(
        network.eval(),
        bundle.spec,
        bundle.classes,
        bundle.preprocess,
        bundle.postprocess,
        manifest.metrics,
        manifest.provenance,
    )


def _from_weights(
    file: Path, network: str | None, classes: str | Path | None, provenance: Mapping[str, Any]
) -> Trained:
    spec = (
        recognise(file)
        if network is None
        else resolve_spec(network, num_classes=_outputs(load_state(file), file))
    )
    names = _read_classes(Path(classes)) if classes is not None else None
    if names is None and spec.num_classes == IMAGENET_CLASSES:
        names = imagenet_classes()
    if names is None:
        raise UsageError(
            f"{file} does not name its {spec.num_classes} classes\n"
            "       give a text file with one name a line: --classes FILE"
            + (", or: pip install timm" if spec.num_classes == IMAGENET_CLASSES else "")
        )
    if len(names) != spec.num_classes:
        raise DataError(f"{classes} names {len(names)} classes, {file} has {spec.num_classes}")
    model = create_model(spec)
    load_weights(model, file)
    return Trained(model.eval(), spec, names, provenance=provenance)


def _read_classes(file: Path) -> tuple[str, ...]:
    try:
        lines = read_regular(file, MAX_CLASSES_BYTES).decode("utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{file}: cannot be read as a list of class names: {reason}") from None
    names = tuple(line.strip() for line in lines if line.strip())
    twice = sorted(name for name, times in Counter(names).items() if times > 1)
    if twice:
        raise DataError(f"{file}: two classes have the same name: {', '.join(twice[:3])}")
    return names


def _outputs(state: Mapping[str, torch.Tensor], file: str | Path) -> int:
    bias = state.get("classifier.bias")
    if bias is None:
        raise BundleError(f"{file}: these weights have no classifier")
    return len(bias)


def _shapes(state: Mapping[str, torch.Tensor]) -> dict[str, Sequence[int]]:
    return {name: tuple(value.shape) for name, value in state.items() if not name.endswith(COUNTER)}
