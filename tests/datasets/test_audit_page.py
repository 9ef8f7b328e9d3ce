"""The page of an audit."""

from __future__ import annotations

import re
from pathlib import Path

from ghostclas.datasets.audit import audit
from ghostclas.datasets.audit_page import write_page


def test_the_page_stands_alone_and_escapes_names(dirty: Path, tmp_path: Path) -> None:
    (dirty / "val" / "ant" / "copied.jpg").rename(dirty / "val" / "ant" / "<b onclick=x>.jpg")
    page = write_page(audit(dirty), tmp_path / "report")
    text = page.read_text(encoding="utf-8")
    assert list(page.parent.iterdir()) == [page]
    assert "<b onclick" not in text
    assert "&lt;b onclick=x&gt;.jpg" in text
    assert not re.findall(r"""(?:src|href)=["'](?!data:)""", text)
    assert "://" not in text
    # 8 pictures in the groups and 5 odd ones.
    assert text.count("data:image/jpeg;base64,") == 13
    assert "left out 1 file that is no image: 1 .txt" in text
    for name in ("rescaled.jpg", "mislabelled.jpg", "again.jpg", "cut.jpg", "really_png.jpg"):
        assert name in text
