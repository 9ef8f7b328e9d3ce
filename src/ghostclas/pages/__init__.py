"""HTML pages that need no other file: pictures are inside, and they are written whole or not at all."""

from __future__ import annotations

import base64
import io
from pathlib import Path
from typing import Any

from ghostclas import imaging
from ghostclas.errors import DataError
from ghostclas.extras import require
from ghostclas.files import write_text


def write_html(template: Path, folder: Path, **values: Any) -> Path:
    """Fill a jinja2 template, write it as ``index.html`` into ``folder``, made if absent; return its path.

    Raises:
        DataError: the folder cannot be written.
        MissingExtraError: jinja2 is not installed.
    """
    jinja2 = require("jinja2", extra="report")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters["count"] = lambda number: f"{number:,}"
    text = environment.from_string(template.read_text(encoding="utf-8")).render(**values)
    try:
        folder.mkdir(parents=True, exist_ok=True)
        write_text(folder / "index.html", text)
    except OSError as error:
        raise DataError(f"cannot write to {folder}: {error.strerror}") from None
    return folder / "index.html"


def thumbnail(data: bytes, side: int) -> str:
    """Return an encoded picture, at most ``side`` pixels wide and high, as a ``data:`` address.

    Raises:
        ImageError: it cannot be decoded.
    """
    image = imaging.decode(data, short_side=side)
    image.thumbnail((side, side))
    out = io.BytesIO()
    image.save(out, "JPEG", quality=80)
    return f"data:image/jpeg;base64,{base64.b64encode(out.getvalue()).decode()}"
