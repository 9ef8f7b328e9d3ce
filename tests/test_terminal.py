"""What a stranger's names become before they are printed."""

from __future__ import annotations

import json

import pytest

from ghostclas.terminal import counted, printable, printable_json, printable_lines, printable_message


@pytest.mark.parametrize(
    ("name", "shown"),
    [
        ("\x1b]0;owned\a.jpg", r"\x1b]0;owned\x07.jpg"),
        ("a\nerror: b", r"a\nerror: b"),
        ("a\r\tb\x7f\x9b2J", r"a\r\tb\x7f\x9b2J"),
        ("gpj\u202eexe", r"gpj\u202eexe"),
        ("one\u2028two\ufeff", r"one\u2028two\ufeff"),
        ("tag\U000e0041", r"tag\U000e0041"),
    ],
)
def test_what_a_terminal_would_obey_is_shown(name: str, shown: str) -> None:
    assert printable(name) == shown


@pytest.mark.parametrize(
    "name", ["小狗　的照片", "می\u200cخواهم", "👩\u200d🔬", "a\\nb", "crème brûlée", "a b"]
)
def test_names_in_every_script_stay(name: str) -> None:
    assert printable(name) == name
    assert printable_json(name) == name


def test_lines_stay_lines() -> None:
    assert printable_lines("a\x1b\nb\r\n") == "a\\x1b\nb\\r\n"


def test_no_line_of_a_message_but_the_first_begins_at_the_margin() -> None:
    message = "error: a\nerror: forged\n   x\n       a detail\n"
    assert printable_message(message).split("\n") == [
        "error: a",
        "       error: forged",
        "          x",
        "       a detail",
        "       ",
    ]


def test_json_says_the_same_in_printable_characters() -> None:
    value = {"label": "\x9b2J\x7f\u202e\U000e0041 小狗", "n": [1]}
    text = json.dumps(value, ensure_ascii=False, indent=1)
    shown = printable_json(text)
    assert json.loads(shown) == value
    assert "小狗" in shown
    assert not any(sign in shown for sign in "\x9b\x7f\u202e\U000e0041")


def test_a_count_takes_its_noun_with_it() -> None:
    assert [counted(number, "file") for number in (0, 1, 1_200)] == ["0 files", "1 file", "1,200 files"]
