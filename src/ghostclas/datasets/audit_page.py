"""The page of an audit: ``index.html``, with embedded images."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ghostclas.datasets.audit import Audit, File, Group
from ghostclas.errors import ImageError
from ghostclas.pages import thumbnail, write_html

SHOWN_GROUPS = 60
SHOWN_FILES = 6
SHOWN_ODD = 60
SHOWN_UNREADABLE = 500

_THUMBNAIL = 160
_PAGE = Path(__file__).with_name("pages") / "audit.html.jinja"


def write_page(audit: Audit, folder: Path) -> Path:
    """Write ``index.html``, which needs no other file and no network, and return its path.

    The page shows the first groups and odd files of each kind; the numbers count all of them, as
    :meth:`Audit.to_json` does.

    Args:
        audit: the audit to show; its images are read again.
        folder: the directory of the page, created if absent.

    Raises:
        DataError: the folder cannot be written.
        MissingExtraError: jinja2 is not installed.
    """
    return write_html(
        _PAGE,
        folder,
        audit=audit,
        sections=_sections(audit),
        odd=[{"shown": _shown(audit, item.file), "item": item} for item in audit.odd[:SHOWN_ODD]],
        unreadable=audit.unreadable[:SHOWN_UNREADABLE],
        images=sum(split.images for split in audit.splits),
        classes=_classes(audit),
    )


def _sections(audit: Audit) -> list[dict[str, Any]]:
    others = [group for group in audit.groups if not group.leak and not group.conflict]
    return [
        _section(
            audit,
            "Leaks",
            "The same image in two splits. A model that learned it scores by memory: "
            "remove such images from one of the splits.",
            audit.leaks,
        ),
        _section(
            audit,
            "One image, two classes",
            "At least one of the labels is wrong, or the classes overlap.",
            [group for group in audit.conflicts if not group.leak],
        ),
        _section(
            audit,
            "Duplicates within a split",
            "A few are harmless; many give these images more weight than others.",
            others,
        ),
    ]


def _section(audit: Audit, title: str, lead: str, groups: Sequence[Group]) -> dict[str, Any]:
    cards = [
        {
            "exact": group.exact,
            "conflict": group.conflict,
            "files": [_shown(audit, file) for file in group.files[:SHOWN_FILES]],
            "more": max(0, len(group.files) - SHOWN_FILES),
        }
        for group in groups[:SHOWN_GROUPS]
    ]
    return {
        "title": title,
        "lead": lead,
        "cards": cards,
        "total": len(groups),
        "more": len(groups) - len(cards),
    }


def _shown(audit: Audit, file: File) -> dict[str, str]:
    try:
        data = audit.sources[file.split].read(file.index)
        uri = thumbnail(data, _THUMBNAIL)
    except ImageError:  # removed since the audit
        return {"name": file.name, "label": file.label, "uri": ""}
    return {"name": file.name, "label": file.label, "uri": uri}


def _classes(audit: Audit) -> list[dict[str, Any]]:
    names = sorted({name for split in audit.splits for name in (*split.classes, *split.missing)})
    most = max((count for split in audit.splits for count in split.classes.values()), default=1)
    rows = [
        {
            "name": name,
            "counts": [split.classes.get(name, 0) for split in audit.splits],
            "shares": [100 * split.classes.get(name, 0) / most for split in audit.splits],
        }
        for name in names
    ]
    return sorted(rows, key=lambda row: (-sum(row["counts"]), row["name"]))
