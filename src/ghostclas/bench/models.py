"""The open bundles for ``--model`` and ``--size``, each with a name for the results."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from ghostclas.bundle import Bundle
from ghostclas.errors import UsageError
from ghostclas.zoo import locate

Make = Callable[[str, int | None], Bundle]
"""Makes a bundle of a model at an input size; ``None`` is the model's own."""


def open_models(
    models: Sequence[str], sizes: Sequence[int] | None = None, *, make: Make
) -> list[tuple[str, Bundle]]:
    """Return every model at every size, with its name.

    Args:
        models: bundles, runs, ``default``, or anything else that ``make`` understands.
        sizes: sides of the input in pixels; each model's own when absent.
        make: called for a model that is no bundle, or has another size. This room cannot make bundles,
            because it may not import the training half.

    Raises:
        UsageError: two models have the same name, or ``make`` knows no such model.
        BundleError: a bundle does not verify.
    """
    found: dict[tuple[str, int], tuple[str, Bundle]] = {}
    for model in models:
        there = _open(model)
        for size in (None,) if sizes is None else sizes:
            fits = there is not None and size in (None, there.preprocess.crop)
            bundle = there if there is not None and fits else make(model, size)
            name = _name(model, bundle)
            if found.setdefault((name, bundle.preprocess.crop), (model, bundle))[0] != model:
                raise UsageError(f"two models have the name {name}; rename one of the folders")
    return [(name, bundle) for (name, _), (_, bundle) in found.items()]


def _open(model: str) -> Bundle | None:
    located = locate(model)
    return None if located.kind == "network" else located.bundle()


def _name(model: str, bundle: Bundle) -> str:
    located = locate(model)
    # A bundle's network may have the name of one of the zoo, and must not be confused with it.
    return bundle.name if located.kind == "network" else located.name
