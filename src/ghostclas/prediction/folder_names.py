"""Names of folders for classes: legal on Linux, macOS and Windows, and distinct on all of them."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Collection, Sequence

LONGEST = 120
"""Bytes of a name in UTF-8: with its number, within the limits of all systems."""

# Windows refuses the first of these signs, and names that end in a space or a dot. The last turn text around.
_REFUSED = re.compile('[<>:"/\\\\|?*\0-\x1f\x7f-\x9f\u2028\u2029\u200e\u200f\u202a-\u202e\u2066-\u2069]')
# Devices of Windows, with any extension; the digits also as superscripts.
_DEVICE = re.compile(r"(con|prn|aux|nul|conin\$|conout\$|(com|lpt)[0-9¹²³])\s*(\..*)?", re.IGNORECASE)


def folder_names(classes: Sequence[str], *, taken: Collection[str] = ()) -> list[str]:
    """Return a name for the folder of each class; a class whose name is legal keeps it.

    Signs that a system refuses become ``_``. Names that would be one folder, such as two that differ in case
    alone, are numbered: ``Cat``, ``cat (2)``.

    Args:
        classes: the names of the classes.
        taken: names that no class may have.
    """
    used = {_folded(name) for name in taken}
    names = []
    for name in classes:
        plain = legal(name)
        chosen, number = plain, 2
        while _folded(chosen) in used:
            chosen, number = f"{plain} ({number})", number + 1
        used.add(_folded(chosen))
        names.append(chosen)
    return names


def legal(name: str) -> str:
    """Return a name that every system accepts for a folder, as close to ``name`` as that allows."""
    text = unicodedata.normalize("NFC", name.encode("utf-8", "replace").decode())
    text = _shortened(_REFUSED.sub("_", text)).strip(" ").rstrip(". ")
    # A dot in front would hide the folder, and some programs take a dash for an option.
    if text.startswith((".", "-", "~")):
        text = f"_{text[1:]}"
    if _DEVICE.fullmatch(text):
        text = f"_{text}"
    return text or "_"


def _shortened(text: str) -> str:
    return text.encode()[:LONGEST].decode(errors="ignore")


def _folded(name: str) -> str:
    return unicodedata.normalize("NFC", unicodedata.normalize("NFC", name).casefold())
