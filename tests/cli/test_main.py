"""The command line: known and unknown commands, exit codes, streams."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ghostclas import __version__
from ghostclas.bundle import Bundle
from ghostclas.cli import COMMANDS, main
from tests.full_disk import largest_file

GHOSTCLAS = [sys.executable, "-m", "ghostclas"]


def test_without_arguments_it_shows_its_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert main([]) == 0
    shown = capsys.readouterr().out
    for command in COMMANDS:
        assert f"\n  {command} " in shown


@pytest.mark.parametrize("command", COMMANDS)
def test_every_verb_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([command, "--help"]) == 0
    shown = capsys.readouterr().out
    assert shown.startswith(f"Usage: ghostclas {command}")
    assert "\n\n  " in shown, "no sentence about what it does"


@pytest.mark.parametrize("command", ["", "ssld", "bench", "data"])
def test_a_list_of_commands_cuts_no_sentence(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main([*command.split(), "--help"]) == 0
    _, commands = capsys.readouterr().out.split("\nCommands:\n")
    cut = [line for line in commands.splitlines() if not line.endswith(".")]
    assert not cut


def test_version(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--version"]) == 0
    assert capsys.readouterr().out == f"ghostclas {__version__}\n"


@pytest.mark.parametrize(
    ("arguments", "offered"),
    [
        (["predct"], "there is no command 'predct'; did you mean 'predict'"),
        (["predict", "--jsn", "x.jpg"], "--json"),
        (["predict", "--egine", "onnxruntime", "x.jpg"], "--engine"),
        (["predict", "--model", "ghostnet_x1", "x.jpg"], "'ghostnet_x1_0'"),
        (["info", "defalt"], "'default'"),
        (["doctor", "--jso"], "--json"),
        (["train", "--resume", "runs/a b"], "ghostclas train --output 'runs/a b' --resume"),
        (["info", "zzz"], "names are listed by: ghostclas models"),
    ],
)
def test_an_unknown_word_is_refused_with_the_nearest_one(
    arguments: list[str], offered: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert offered in shown.err


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["predict", "--model"], "requires an argument"),
        (["predict", "--model", "SMALL"], "needs a photo"),
        (["predict", "--model", "SMALL", "x.jpg", "--top", "0"], "top must be at least 1"),
        (["predict", "--model", "SMALL", "x.jpg", "--top", "many"], "--top"),
        (["predict", "--model", "SMALL", "x.jpg", "--batch-size", "0"], "batch_size must be at least 1"),
        (["predict", "--model", "SMALL", "x.jpg", "--threads", "0"], "threads must be at least 1"),
        (["predict", "--model", "SMALL", "x.jpg", "--engine", "onnxruntim"], "did you mean 'onnxruntime'?"),
        (["info"], "missing argument"),
    ],
)
def test_a_wrong_use_is_one_error_and_exit_code_2(
    arguments: list[str], said: str, small_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([str(small_bundle.path) if word == "SMALL" else word for word in arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert shown.err.startswith("error: ")
    assert said in shown.err


def test_a_photo_in_the_place_of_a_command_is_told_the_command(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    photo = tmp_path / "photo.jpg"
    photo.touch()
    assert main([str(photo)]) == 2
    assert f"ghostclas predict {photo}" in capsys.readouterr().err


LONG = "n" * 300


@pytest.mark.parametrize(
    "arguments",
    [
        ["predict", LONG],
        ["predict", "SMALL", "--output", LONG],
        ["predict", "SMALL", "--model", LONG],
        ["eval", "--data", LONG],
        ["eval", "--data", "SMALL", "--report", LONG],
        ["data", "audit", LONG],
        ["export", "--model", f"{LONG}.pth", "--output", "out"],
        ["verify", LONG],
        ["train", "--data", LONG],
        ["train", "--data", "SMALL", "--output", LONG],
        ["train", "--data", "SMALL", "--recipe", f"{LONG}.yaml"],
        ["train", "--data", "SMALL", "--weights", LONG],
    ],
    ids=" ".join,
)
def test_a_name_too_long_for_a_file_is_one_error(
    arguments: list[str], small_bundle: Bundle, capsys: pytest.CaptureFixture[str]
) -> None:
    code = main([str(small_bundle.path) if word == "SMALL" else word for word in arguments])
    assert code in (2, 3)
    assert capsys.readouterr().err.startswith("error: ")


def test_a_bug_shows_its_traceback(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken() -> list[str]:
        raise ZeroDivisionError("a bug")

    monkeypatch.setattr("ghostclas.engines.installed_engines", broken)
    with pytest.raises(ZeroDivisionError, match="a bug"):
        main(["doctor"])


def test_an_interrupt_exits_with_130(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted() -> list[str]:
        raise KeyboardInterrupt

    monkeypatch.setattr("ghostclas.engines.installed_engines", interrupted)
    assert main(["doctor"]) == 130
    assert "Traceback" not in capsys.readouterr().err


def test_a_closed_pipe_ends_quietly() -> None:
    process = subprocess.Popen(
        [*GHOSTCLAS, "models", "--json"], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert process.stderr.read() == b""
    assert process.wait() == 1
    process.stderr.close()


def test_the_module_and_the_script_name_the_same_function() -> None:
    from importlib.metadata import entry_points

    script = next(point for point in entry_points(group="console_scripts") if point.name == "ghostclas")
    assert script.load() is main


def test_a_full_disk_is_one_line_wherever_it_shows(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_words: list[str]) -> list[str]:
        with largest_file(10):
            (tmp_path / "file").write_bytes(bytes(100))
        raise AssertionError("written")

    monkeypatch.setattr("ghostclas.cli._with_resume_auto", full)
    assert main(["doctor"]) == 1
    assert (
        capsys.readouterr().err
        == "error: cannot write: File too large; make room, or choose another folder\n"
    )
