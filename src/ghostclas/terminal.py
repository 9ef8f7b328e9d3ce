"""Text for people: counts with their nouns, and a stranger's names made safe to print.

Of a name, control characters are shown, not obeyed.
"""

from __future__ import annotations

import re

_CONTINUED = " " * 7
"""How far the lines after the first of an error or a note stand in: as far as ``error: ``."""

# Control characters, separators of lines and paragraphs, marks of the direction of writing, invisible signs.
# The joiners U+200C and U+200D stay, because words of some scripts and many emoji need them.
_HIDDEN = re.compile(
    "[\0-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\U000e0000-\U000e0fff]"
)


def counted(number: int, noun: str) -> str:
    """Return a number and its noun, which takes an ``s`` for all but one: ``1 file``, ``1,200 files``."""
    return f"{number:,} {noun}" if number == 1 else f"{number:,} {noun}s"


def printable(text: str) -> str:
    """Return ``text`` as one line that moves no cursor: what would is written as ``\\n`` or ``\\x1b``."""
    return _HIDDEN.sub(lambda found: found[0].encode("unicode_escape").decode("ascii"), text)


def printable_lines(text: str) -> str:
    """Return ``text`` with its line feeds, and everything else as :func:`printable` has it."""
    return "\n".join(map(printable, text.split("\n")))


def printable_message(text: str) -> str:
    """Return an error or a note of one or more lines, of which no line but the first begins at the margin.

    So a line break in a name cannot begin a line that looks like another message.
    """
    first, *others = map(printable, text.split("\n"))
    return "\n".join(
        [first, *(line if line.startswith(_CONTINUED) else _CONTINUED + line for line in others)]
    )


def printable_json(text: str) -> str:
    """Return a JSON document that says the same in printable characters."""
    return _HIDDEN.sub(_json_escape, text)


def _json_escape(found: re.Match[str]) -> str:
    # Between the values of a document a line feed means nothing; inside of them JSON has none.
    if found[0] == "\n":
        return "\n"
    units = found[0].encode("utf-16-be")
    return "".join(f"\\u{units[at : at + 2].hex()}" for at in range(0, len(units), 2))
