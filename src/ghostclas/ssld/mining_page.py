"""A page that shows what mining took and left out: ``index.html``, with its images inside."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np

from ghostclas.data.source import Source
from ghostclas.errors import ImageError
from ghostclas.pages import thumbnail, write_html
from ghostclas.ssld.mining import Mined, MinedImage, RemovedImage, reasons

SHOWN_CLASSES = 24
SHOWN_OF_A_CLASS = 4
SHOWN_DUPLICATES = 60
SHOWN_UNREAD = 200

_THUMBNAIL = 112
_PAGE = Path(__file__).with_name("pages") / "mined.html.jinja"
_PLACES = {
    "val": "In the validation set: a student that learned them would score by memory.",
    "train": "Labelled already.",
    "pool": "Twice in the pool: the first one stays.",
}


def write_page(mined: Mined, folder: Path) -> Path:
    """Write ``index.html``, which needs no other file and no network, and return its path.

    Raises:
        DataError: the folder cannot be written.
        MissingExtraError: jinja2 is not installed.
    """
    return write_html(
        _PAGE,
        folder,
        mined=mined,
        classes=_classes(mined),
        examples=list(_examples(mined)),
        duplicates=[_duplicates(mined, where, lead) for where, lead in _PLACES.items()],
        reasons=reasons(mined),
        unread=list(mined.unread.items())[:SHOWN_UNREAD],
    )


def _classes(mined: Mined) -> list[dict[str, Any]]:
    most = max(int(mined.counts.max()), 1)
    lowest = np.full(len(mined.classes), np.inf)
    for one in mined.taken:
        lowest[one.label] = min(lowest[one.label], one.probability)
    rows = [
        {
            "name": name,
            "count": int(count),
            "share": 100 * count / most,
            "lowest": float(low) if count else None,
        }
        for name, count, low in zip(mined.classes, mined.counts, lowest, strict=True)
    ]
    return sorted(rows, key=lambda row: (row["count"], row["name"]))


def _examples(mined: Mined) -> Iterable[dict[str, Any]]:
    """Yield the most and the least probable images of some classes, spread evenly over all classes."""
    by_class: dict[int, list[MinedImage]] = {}
    for one in mined.taken:
        by_class.setdefault(one.label, []).append(one)
    labels = sorted(by_class)
    for label in labels[:: max(1, -(-len(labels) // SHOWN_CLASSES))]:
        ranked = sorted(by_class[label], key=lambda one: -one.probability)
        ends = [*ranked[:SHOWN_OF_A_CLASS], *ranked[SHOWN_OF_A_CLASS:][-SHOWN_OF_A_CLASS:]]
        yield {
            "name": mined.classes[label],
            "photos": [_shown(mined.pool, one.image, f"{one.probability:.3f}") for one in ends],
        }


def _duplicates(mined: Mined, where: str, lead: str) -> dict[str, Any]:
    sources = {"val": mined.splits.val, "train": mined.splits.train, "pool": mined.pool}
    chosen = [one for one in mined.removed if one.where == where]
    # The matches that were hardest to find come first.
    order: dict[str, int] = {"same scene by SIFT": 0, "same picture": 1, "same bytes": 2}

    def rank(one: RemovedImage) -> tuple[int, int]:
        return order[one.why], one.image

    pairs = [
        {
            "why": one.why,
            "left": _shown(mined.pool, one.image, "left out"),
            "right": _shown(sources[where], one.duplicate, where),
        }
        for one in sorted(chosen, key=rank)[:SHOWN_DUPLICATES]
    ]
    return {
        "where": where,
        "lead": lead,
        "total": len(chosen),
        "pairs": pairs,
        "more": len(chosen) - len(pairs),
    }


def _shown(source: Source, index: int, note: str) -> dict[str, str]:
    name = source.samples[index].key
    try:
        uri = thumbnail(source.read(index), _THUMBNAIL)
    except ImageError:  # removed since it was scored
        uri = ""
    return {"name": name, "note": note, "uri": uri}
