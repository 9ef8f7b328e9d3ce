"""The sections of ``docs/serving.md``, for the tests that run their examples."""

from __future__ import annotations

import re

from tests.examples import ROOT, fenced_in

PAGE = ROOT / "docs" / "serving.md"


def section(title: str) -> str:
    """Return the text of a section of the second level."""
    text = PAGE.read_text(encoding="utf-8")
    (found,) = re.findall(rf"^## {re.escape(title)}\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL)
    return str(found)


def examples(title: str, language: str) -> list[str]:
    """Return the code blocks of a section in a language."""
    return list(fenced_in(section(title), language))
