"""Cells of a CSV file that a spreadsheet shows, and does not run.

Excel, LibreOffice and others take a cell for a formula that begins with ``=``, ``+``, ``-`` or ``@``, quoted
or not. Some skip tabs and line breaks before these signs, and some take their wide forms. A formula in the
name of a file or a class could start a program, or send away what the table holds.
"""

from __future__ import annotations

import csv
import re
from collections.abc import Callable, Iterable
from typing import Any, TextIO

_FORMULA = re.compile("'*[=+\\-@\t\r\n\uff1d\uff0b\uff0d\uff20]")


def inert(cell: str) -> str:
    """Return the cell with ``'`` in front if a spreadsheet could take it for a formula.

    A cell that already begins with ``'`` and then such a sign gets one more, so that :func:`plain` can tell.
    """
    return f"'{cell}" if _FORMULA.match(cell) else cell


def row_writer(to: TextIO) -> Callable[[Iterable[Any]], object]:
    """Return a function that writes one row of CSV to an open text file, ended by a line feed alone.

    ``csv.writer`` with this end of line would not quote a ``\\r`` in a name, and readers would see two rows.
    """
    return csv.writer(_UnixLines(to), lineterminator="\r\n").writerow


class _UnixLines:
    def __init__(self, to: TextIO) -> None:
        self._to = to

    def write(self, row: str) -> int:
        return self._to.write(row.removesuffix("\r\n") + "\n")


def plain(cell: str) -> str:
    """Return what :func:`inert` was given."""
    return cell[1:] if cell.startswith("'") and _FORMULA.match(cell) else cell
