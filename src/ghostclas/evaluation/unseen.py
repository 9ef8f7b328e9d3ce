"""The images of a folder that a model was not trained on, by what its bundle says of its training."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from pydantic import ValidationError

from ghostclas.bundle import Bundle
from ghostclas.data import Source, Subset
from ghostclas.data.set_aside import Found, SetAside, find_set_aside
from ghostclas.terminal import counted

SET_ASIDE = "set_aside"
"""The key of the record in a bundle's provenance."""


def unseen_part(source: Source, bundles: Sequence[Bundle]) -> Source:
    """Return the images of ``source`` that the trainings of all ``bundles`` set aside.

    Training divides an undivided folder; the accuracy on photos that it learned from tells little of others.
    In data that none of the models was trained on, these are all images. So they are where none that was set
    aside is left. ``data.source_notes`` of the result says which images are measured and why.
    """
    found = [each for bundle in bundles if (each := _found(source, bundle))]
    if not found:
        return source
    total = len(source.samples)
    unseen = np.logical_and.reduce([each.unseen for each in found])
    count = int(unseen.sum())
    changed = any(each.changed for each in found)
    who = "both trainings" if len(found) == 2 else "all trainings" if len(found) > 2 else "training"
    if not count:
        note = (
            f"{who} set none of the {counted(total, 'image')} aside: measured on photos that were learned "
            "from; others are answered less well"
        )
        return Subset(source, np.arange(total), (note,))
    note = f"measured on the {count:,} of {counted(total, 'image')} that {who} set aside"
    if changed:
        note += ", by their names: some were added, removed or renamed since"
    return Subset(source, np.flatnonzero(unseen), (f"{note}; --split all measures on all",))


def _found(source: Source, bundle: Bundle) -> Found | None:
    try:
        record = SetAside.model_validate(bundle.manifest.provenance.get(SET_ASIDE))
    except ValidationError:
        # Whoever made the bundle may have remembered anything.
        return None
    return find_set_aside(record, bundle.classes, source)
