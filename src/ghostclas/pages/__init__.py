"""HTML pages that need no other file: images are embedded. A page is written whole or not at all."""

from __future__ import annotations

import base64
import io
import os
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import ghostclas
from ghostclas import imaging
from ghostclas.errors import DataError, UsageError
from ghostclas.extras import require
from ghostclas.files import check_folder, check_replaceable, is_folder, is_there, write_text

MARK = b'<meta name="generator" content="ghostclas">'
"""What tells a page of this package from somebody else's."""


def render(template: Path, **values: Any) -> str:
    """Render a jinja2 template, which may extend ``base.html.jinja`` and import from ``parts.html.jinja``.

    ``version`` is this package's. All text is escaped.

    Raises:
        MissingExtraError: jinja2 is not installed.
    """
    jinja2 = require("jinja2", extra="report")
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader([template.parent, Path(__file__).parent]),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["thousands"] = "{:,}".format
    text: str = environment.get_template(template.name).render(values, version=ghostclas.__version__)
    return text


def write_html(template: Path, folder: Path, **values: Any) -> Path:
    """Render a template, see ``render``, and write it as ``index.html`` into ``folder``, created if absent.

    Returns:
        The path of the page.

    Raises:
        DataError: the folder cannot be written.
        MissingExtraError: jinja2 is not installed.
    """
    text = render(template, **values)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "index.html", text)
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error.strerror}") from None
    return folder / "index.html"


def check_report_folder(
    directory: str | os.PathLike[str], what: str, strangers: Callable[[Path, set[str]], Collection[str]]
) -> None:
    """Raise before the work what replacing a folder of ``--report`` would raise after it.

    Args:
        directory: the folder, which need not exist.
        what: what is written there, such as ``gallery``.
        strangers: returns, of the names in the folder, those that this package did not write.

    Raises:
        UsageError: it is a file, holds something else, or cannot be written to.
        MissingExtraError: jinja2 is not installed.
    """
    require("jinja2", extra="report")
    target = Path(directory)
    if is_there(target) and not is_folder(target):
        raise UsageError(f"{target} is a file; name a folder for the {what}")
    check_replaceable(target, option="--report")
    found = {entry.name for entry in target.iterdir()} if is_there(target) else set()
    if found and (others := strangers(target, found)):
        raise UsageError(
            f"{target} holds other files than a {what}, such as {min(others)!r}; name a new folder for it"
        )


def check_page(folder: Path) -> None:
    """Raise before the work what writing the page of ``--report`` into a folder would raise after it.

    Other files may be in the folder.

    Raises:
        UsageError: it is a file, cannot be written to, or has a page that this package did not write.
        MissingExtraError: jinja2 is not installed.
    """
    require("jinja2", extra="report")
    if is_there(folder) and not is_folder(folder):
        raise UsageError(f"{folder} is a file; name a folder for the page")
    check_folder(folder, option="--report")
    page = folder / "index.html"
    if is_there(page) and MARK not in page.read_bytes():
        raise UsageError(f"{page} is a page of somebody else; name another folder for this one")


def thumbnail(data: bytes, side: int) -> str:
    """Return an encoded image, at most ``side`` pixels wide and high, as a ``data:`` URI.

    Raises:
        ImageError: the image cannot be decoded.
    """
    image = imaging.decode(data, short_side=side)
    image.thumbnail((side, side))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return data_uri("image/jpeg", out.getvalue())


def data_uri(kind: str, content: bytes) -> str:
    """Return ``content`` of the media type ``kind`` as a ``data:`` URI."""
    return f"data:{kind};base64,{base64.b64encode(content).decode('ascii')}"
