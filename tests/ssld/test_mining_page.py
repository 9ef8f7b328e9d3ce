"""The page that shows what mining took and left out."""

from __future__ import annotations

import re
from dataclasses import replace
from html.parser import HTMLParser
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


def test_a_name_that_a_stranger_chose_is_only_text(colours: tuple[Path, Path, Path], tmp_path: Path) -> None:
    _, _, pool = colours
    hostile = """b "'><img src=x onerror=alert(1)>{{ 7 * 7 }}.png"""
    (pool / hostile).write_bytes(b"no image")
    (pool / f"a {hostile}").write_bytes((pool / "any" / "depth" / "0.png").read_bytes())
    classes = ("</style><script>alert(1)</script>", '" onload="alert(1)', "&lt;b&gt;")
    found = replace(mined(colours, tmp_path / "cache", max_bad=0.5), classes=classes)
    page = Page()
    page.feed(write_page(found, tmp_path / "report").read_text(encoding="utf-8"))
    assert page.tags.count("script") == 1, "the page's own, which sorts tables"
    assert "img" in page.tags
    assert not [name for name in page.attributes if name.startswith("on")]
    assert all(source.startswith("data:image/jpeg;base64,") for source in page.sources)
    for name in (hostile, *classes):
        assert name in page.text


class Page(HTMLParser):
    """What a browser would make of a page."""

    def __init__(self) -> None:
        super().__init__()
        self.tags = list[str]()
        self.attributes = set[str]()
        self.sources = list[str]()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes.update(name for name, _ in attrs)
        self.sources += [value or "" for name, value in attrs if name in ("src", "href")]

    def handle_data(self, data: str) -> None:
        self.text += data
