"""Shell completion: the scripts, and what a shell gets when it asks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from ghostclas.cli import COMMANDS, COMPLETION_VARIABLE, main


def asked(words: str) -> list[str]:
    """Return what the program offers bash for the last of these words."""
    count = len(words.split(" ")) - 1
    done = subprocess.run(
        [sys.executable, "-c", "import sys; from ghostclas.cli import main; sys.exit(main())"],
        env={
            **os.environ,
            COMPLETION_VARIABLE: "complete_bash",
            "COMP_WORDS": words,
            "COMP_CWORD": str(count),
        },
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stderr == ""
    return done.stdout.split()


def test_commands_and_options_are_offered() -> None:
    assert asked("ghostclas ") == list(COMMANDS)
    assert asked("ghostclas pre") == ["predict"]
    assert asked("ghostclas predict --prec") == ["--precision"]
    assert asked("ghostclas completion z") == ["zsh"]


def test_values_of_options_are_offered() -> None:
    assert asked("ghostclas train --recipe ghost") == ["ghostnet_imagenet"]
    assert asked("ghostclas export --format onnx,openv") == ["onnx,openvino"]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish", "powershell"])
def test_each_script_asks_this_program(shell: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", shell]) == 0
    shown = capsys.readouterr()
    assert COMPLETION_VARIABLE in shown.out
    assert "ghostclas" in shown.err


def test_bash_takes_the_script(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bash = shutil.which("bash")
    if bash is None:
        pytest.skip("bash is not installed")
    assert main(["completion", "bash"]) == 0
    (tmp_path / "script").write_text(capsys.readouterr().out, encoding="utf-8")
    done = subprocess.run(
        [bash, "-c", "source ./script && complete -p ghostclas"], cwd=tmp_path, capture_output=True, text=True
    )
    assert done.stdout.strip() == "complete -o default -F _ghostclas_completion ghostclas"


def test_an_unknown_shell_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["completion", "tcsh"]) == 2
    shown = capsys.readouterr().err
    assert shown.startswith("error: invalid value for 'SHELL': 'tcsh' is not one of 'bash', 'zsh', ")
