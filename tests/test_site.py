"""The documentation as a site: built without a warning; its links lead somewhere, and it fetches nothing."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.examples import PAGES, ROOT

pytest.importorskip("mkdocs")

_HREF = re.compile(r'<(a|link|script|img)\b[^>]*?\b(href|src)="?([^">\s]+)')


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", str(folder)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return folder


def test_every_document_is_a_page(site: Path) -> None:
    for page in PAGES:
        name = page.relative_to(ROOT).with_suffix(".html")
        assert (site / ("index.html" if page.name == "README.md" else name)).is_file()


def test_the_reference_has_the_public_names(site: Path) -> None:
    text = (site / "api.html").read_text(encoding="utf-8")
    import ghostclas

    missing = {name for name in ghostclas.__all__ if f'id="ghostclas.{name}"' not in text}
    errors = {name for name in missing if f'id="ghostclas.errors.{name}"' in text}
    assert missing - errors == {"__version__", "load"}


def test_links_lead_to_pages_and_nothing_comes_from_elsewhere(site: Path) -> None:
    for page in site.rglob("*.html"):
        for tag, _, target in _HREF.findall(page.read_text(encoding="utf-8")):
            parts = urlsplit(target)
            if parts.scheme or target.startswith("#"):
                assert tag == "a" or parts.scheme == "data" or target.startswith("#"), (page.name, target)
            elif page.name != "404.html" and parts.path:
                assert (page.parent / unquote(parts.path)).exists(), (page.relative_to(site), target)
