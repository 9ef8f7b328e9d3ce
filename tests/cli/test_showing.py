"""What ``predict`` prints: lines for people, bars on a terminal, objects for programs."""

from __future__ import annotations

import json

import pytest

from ghostclas.cli.showing import Showing, answer_text
from ghostclas.spec import Label, Prediction, PredictionError

ANSWER = Prediction(
    file="a.jpg",
    top=(Label(index=1, label="cat", score=0.75), Label(index=0, label="dog", score=0.25)),
)


def test_plain_lines_hold_no_code_of_a_terminal_and_fancy_ones_a_bar() -> None:
    assert answer_text(ANSWER, fancy=False) == "a.jpg\n   75.00%  cat\n   25.00%  dog"
    fancy = answer_text(ANSWER, fancy=True).splitlines()
    assert "\x1b[1mcat" in fancy[1]
    assert fancy[1].count("█") + fancy[1].count("#") == 15
    assert "\x1b" not in fancy[2]


def test_an_error_and_an_unknown_photo_say_so() -> None:
    error = PredictionError(code="truncated", message="it is\ncut short")
    assert answer_text(Prediction(file=None, error=error), fancy=False) == "-\n  error: it is\\ncut short"
    unknown = ANSWER.model_copy(update={"unknown": True})
    assert answer_text(unknown, fancy=False).splitlines()[1] == "  unknown; the nearest are"


@pytest.mark.parametrize(("as_json", "to_files"), [(True, False), (True, True), (False, True)])
def test_programs_get_objects_and_files_leave_stdout_alone(
    as_json: bool, to_files: bool, capsys: pytest.CaptureFixture[str]
) -> None:
    showing = Showing(as_json=as_json, to_files=to_files)
    showing.answer(ANSWER, 1)
    showing.end(1)
    shown = capsys.readouterr().out
    assert (json.loads(shown)["top"][0]["label"] == "cat") if as_json else (shown == "")


def test_errors_that_are_printed_nowhere_else_are_named_up_to_a_few(
    capsys: pytest.CaptureFixture[str],
) -> None:
    error = PredictionError(code="truncated", message="it is cut short")
    bad = [Prediction(file=f"{number}.jpg", error=error) for number in range(7)]
    for as_json, to_files in ((True, True), (False, False), (False, True)):
        showing = Showing(as_json=as_json, to_files=to_files)
        for done, prediction in enumerate(bad, 1):
            showing.answer(prediction, done)
        showing.end(len(bad))
        shown = capsys.readouterr()
        if to_files and not as_json:
            named = [f"{number}.jpg: it is cut short" for number in range(5)]
            assert shown.err.splitlines() == [*named, "and 2 more"]
        else:
            assert shown.out.count("it is cut short") == 7
            assert shown.err == ""
