"""Output of the verbs on stdout and stderr."""

from __future__ import annotations

import pytest

from ghostclas.cli.console import print_next, renamed, say_json, table
from ghostclas.errors import UsageError


def test_columns_are_as_wide_as_their_widest_cell_and_numbers_stand_right() -> None:
    shown = table(["name", "n"], [["a", "10"], ["longer", "5"]], right=[1])
    assert shown.splitlines() == ["name     n", "a       10", "longer   5"]


def test_the_next_command_can_be_pasted_whatever_its_words_are(capsys: pytest.CaptureFixture[str]) -> None:
    print_next("ghostclas", "predict", "my photos/it's.jpg")
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err == "next: ghostclas predict 'my photos/it'\"'\"'s.jpg'\n"


def test_an_old_option_works_with_a_note_and_not_beside_its_new_name(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert renamed(None, "a", to="--network", was="--arch") == "a"
    assert "--arch is now called --network" in capsys.readouterr().err
    assert renamed("b", None, to="--network", was="--arch") == "b"
    with pytest.raises(UsageError, match="give --network only"):
        renamed("b", "a", to="--network", was="--arch")


def test_json_is_one_line_that_people_can_read(capsys: pytest.CaptureFixture[str]) -> None:
    say_json({"label": "小狗\n"})
    assert capsys.readouterr().out == '{"label": "小狗\\n"}\n'
