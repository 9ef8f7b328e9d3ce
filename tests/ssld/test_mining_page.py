"""The page that shows what mining took and left out."""

from __future__ import annotations

import re
from pathlib import Path

from ghostclas.ssld.mining_page import write_page
from tests.ssld.mined import mined


def test_the_page_stands_alone_and_names_what_was_taken_and_what_cannot_be_read(
    colours: tuple[Path, Path, Path], tmp_path: Path
) -> None:
    _, data, pool = colours
    (pool / "a_val.png").write_bytes((data / "val" / "red" / "0.png").read_bytes())
    (pool / "b <broken>.png").write_bytes(b"no image")
    page = write_page(mined(colours, tmp_path / "cache", max_bad=0.5), tmp_path / "report")
    text = page.read_text(encoding="utf-8")
    assert list(page.parent.iterdir()) == [page]
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text)
    assert all(name in text for name in ("red", "green", "blue", "a_val.png"))
    assert "b &lt;broken&gt;.png" in text
