"""Objects as tables in a notebook."""

from __future__ import annotations

from ghostclas.pages.notebook import html_table


def test_names_and_values_are_text_whatever_they_look_like() -> None:
    table = html_table("<b>title</b>", {"a & b": "<script>alert(1)</script>", "classes": "3"})
    assert table.count("<tr>") == 2
    assert "&lt;b&gt;title&lt;/b&gt;" in table
    assert "a &amp; b" in table
    assert "<script>" not in table
