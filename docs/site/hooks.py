"""What MkDocs needs to make a site of the repository's own pages.

They keep their paths, so the links between them hold on the site, too. A link to what is no page of the site,
such as a folder of tests, becomes its text.
"""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

ROOT = Path(__file__).parents[2]
PAGES = (
    "*.md",
    "docs/*.md",
    "docs/zh/*.md",
    "docs/*/**/*.png",
    "docs/images/*.webp",
    "docs/*/**/*.svg",
    "benchmarks/results/**/*.md",
    "benchmarks/results/**/*.png",
    "deploy/*",
    "docker/*",
)
_LINK = re.compile(r"\[([^\[\]]*)\]\(([^()\s#:]+)(#[^()\s]*)?\)")


def on_files(files: Files, config: Any) -> Files:
    """Add the repository's pages and their pictures."""
    for pattern in PAGES:
        for path in sorted(ROOT.glob(pattern)):
            if path.is_file():
                name = path.relative_to(ROOT).as_posix()
                files.append(File(name, str(ROOT), config["site_dir"], config["use_directory_urls"]))
    return files


def on_page_markdown(markdown: str, page: Any, files: Files, **_: Any) -> str:
    """Turn links that lead out of the site into text."""
    folder = posixpath.dirname(page.file.src_uri)

    def keep(match: re.Match[str]) -> str:
        target = posixpath.normpath(posixpath.join(folder, match[2]))
        return match[0] if files.get_file_from_path(target) else match[1]

    return _LINK.sub(keep, markdown)
