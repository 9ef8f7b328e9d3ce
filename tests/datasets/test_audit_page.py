"""The page of an audit."""

from __future__ import annotations

import re
from pathlib import Path

from ghostclas.datasets.audit import audit
from ghostclas.datasets.audit_page import write_page
from tests.data.trees import make_folder


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


def test_the_page_names_classes_with_few_images(tmp_path: Path) -> None:
    root = make_folder(tmp_path / "set", {"ant": 6, "bee": 6, "<cat>": 1})
    text = write_page(audit(root), tmp_path / "report").read_text(encoding="utf-8")
    assert "Under a fifth of the median class's images (1): &lt;cat&gt; (1)." in text
