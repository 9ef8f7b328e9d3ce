"""``--quiet`` and ``--verbose``: taken by every verb, before and behind it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from ghostclas.cli import COMMANDS, main
from ghostclas.cli.volume import behind_the_verb
from ghostclas.volume import Volume, volume
from tests.colours import colour_bundle, colour_photo

Shown = pytest.CaptureFixture[str]


@pytest.fixture
def words(tmp_path: Path) -> list[str]:
    bundle = colour_bundle(tmp_path / "colours")
    return ["predict", str(colour_photo(tmp_path / "red.png", "red")), "--model", str(bundle.path)]


@pytest.mark.parametrize("verb", [*COMMANDS, "bench diff", "data audit", "ssld mine"])
def test_every_verb_takes_both(verb: str, capsys: Shown) -> None:
    assert main([*verb.split(), "--help"]) == 0
    shown = capsys.readouterr().out
    assert "-q, --quiet" in shown
    assert "-v, --verbose" in shown


@pytest.mark.parametrize("place", ["before", "behind"])
def test_quiet_leaves_the_results(place: str, words: list[str], capsys: Shown) -> None:
    assert main(words) == 0
    loud = capsys.readouterr()
    assert "to keep the answers: " in loud.err
    assert main(["--quiet", *words] if place == "before" else [*words, "-q"]) == 0
    quiet = capsys.readouterr()
    assert (quiet.out, quiet.err) == (loud.out, "")
    assert volume() is Volume.NORMAL, "the next call in this process is as loud as ever"


def test_quiet_leaves_the_errors(words: list[str], tmp_path: Path, capsys: Shown) -> None:
    (tmp_path / "bad.png").write_bytes(b"no image")
    assert main([*words, str(tmp_path / "bad.png"), "--quiet", "--report", str(tmp_path / "out")]) == 3
    reason, *shown = capsys.readouterr().err.splitlines()
    assert reason.startswith(f"{tmp_path / 'bad.png'} is not an image")
    assert shown == ["error: 1 of 2 photos could not be labelled; each result has its error"]


def test_verbose_says_what_was_chosen_and_why(words: list[str], tmp_path: Path, capsys: Shown) -> None:
    assert main([*words, "--verbose"]) == 0
    shown = capsys.readouterr().err
    assert f"model: {tmp_path / 'colours'}, a bundle\n" in shown
    assert "engine: onnxruntime with model.onnx in fp32, the first of the installed " in shown
    assert "batches of 4 photos" in shown
    assert main(words) == 0
    assert "engine:" not in capsys.readouterr().err


def test_verbose_says_where_an_error_was_raised(capsys: Shown) -> None:
    assert main(["info", "nothing-here", "-v"]) == 2
    trace, _, error = capsys.readouterr().err.partition("\nerror: ")
    first, *lines = trace.splitlines()
    assert first == "Traceback (most recent call last):"
    assert any(line.startswith('  File "') and "zoo.py" in line for line in lines)
    (raised,) = [line for line in lines if not line.startswith("  ")]
    assert raised.startswith("ghostclas.errors.UsageError: no model 'nothing-here'")
    assert lines[-1] == "       names are listed by: ghostclas models"
    assert error.startswith("no model 'nothing-here'")


def test_both_at_once_are_refused(words: list[str], capsys: Shown) -> None:
    assert main([*words, "-q", "-v"]) == 2
    assert "give one of --quiet and --verbose" in capsys.readouterr().err


def test_options_in_front_move_behind_the_verb() -> None:
    assert behind_the_verb(["-q", "train", "--resume"]) == ["train", "-q", "--resume"]
    assert behind_the_verb(["predict", "--", "--quiet"]) == ["predict", "--", "--quiet"]
    assert behind_the_verb(["--verbose"]) == behind_the_verb([]) == ["--help"]


def test_the_library_says_nothing_by_itself(words: list[str]) -> None:
    code = f"import ghostclas; ghostclas.Classifier.load({words[-1]!r})({words[1]!r})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert (done.stdout, done.stderr) == ("", "")
