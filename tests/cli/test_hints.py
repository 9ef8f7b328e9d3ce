"""Hints for words and flags that do not exist: by what other programs call them, and by spelling."""

from __future__ import annotations

import pytest
import typer

from ghostclas.cli import COMMANDS, app, main
from ghostclas.cli.hints import OTHER_FLAGS, command_hint, flag_hint


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("train --learning-rate 0.1", "no such option: --learning-rate; did you mean '--lr'?"),
        ("train --imgsz 128", "no such option: --imgsz; did you mean '--size'?"),
        ("train --batch_size 8", "no such option: --batch_size; did you mean '--batch-size'?"),
        ("train --epoch 3", "no such option: --epoch; did you mean '--epochs' or "),
        ("predict --topk 3", "no such option: --topk; did you mean '--top'?"),
        ("recommend", "there is no command 'recommend'; did you mean 'bench recommend'?"),
        ("audit photos", "there is no command 'audit'; did you mean 'data audit'?"),
        ("evall", "there is no command 'evall'; did you mean 'eval'"),
    ],
)
def test_the_nearest_word_is_named(line: str, hint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(line.split()) == 2
    shown = capsys.readouterr().err
    assert shown.startswith(f"error: {hint}")


def test_every_flag_that_is_named_exists() -> None:
    group = typer.main.get_command(app)
    context = group.make_context("ghostclas", [], resilient_parsing=True)
    assert hasattr(group, "get_command")
    commands = [group.get_command(context, name) for name in COMMANDS]
    flags = {flag for command in commands for option in command.params for flag in option.opts}
    assert set(OTHER_FLAGS.values()) <= flags
    assert not flags & set(OTHER_FLAGS), "these are flags of ours"


def test_a_command_without_that_flag_offers_what_is_spelled_alike() -> None:
    assert flag_hint("--imgsz", ["--images", "--top"]) == "; did you mean '--images'?"
    assert flag_hint("--imgsz", []) == ""


def test_a_verb_below_two_commands_is_named_twice() -> None:
    below = [("a", "run"), ("b", "run"), ("b", "stop")]
    assert command_hint("run", ["runs"], below) == "; did you mean 'a run' or 'b run'?"
    assert command_hint("rans", ["runs"], below) == "; did you mean 'runs'?"
