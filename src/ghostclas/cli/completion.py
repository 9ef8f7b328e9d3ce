"""``ghostclas completion``: the script by which a shell completes commands and options."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from ghostclas.cli.console import note, say

HOW = {
    "bash": 'put into ~/.bashrc: eval "$(ghostclas completion bash)"',
    "zsh": 'put into ~/.zshrc, after compinit: eval "$(ghostclas completion zsh)"',
    "fish": "write it to ~/.config/fish/completions/ghostclas.fish",
    "powershell": "put into $PROFILE: ghostclas completion powershell | Out-String | Invoke-Expression",
}


class Shell(StrEnum):
    """A shell that can be told."""

    bash = "bash"
    zsh = "zsh"
    fish = "fish"
    powershell = "powershell"


def completion_command(
    shell: Annotated[Shell, typer.Argument(metavar="SHELL", help="bash, zsh, fish or powershell.")],
) -> None:
    """Print the script that completes commands in a shell.

    A note on stderr says where it belongs.
    """
    from typer.completion import get_completion_script  # type: ignore[attr-defined]

    from ghostclas.cli import COMPLETION_VARIABLE

    say(get_completion_script(prog_name="ghostclas", complete_var=COMPLETION_VARIABLE, shell=shell.value))
    note(HOW[shell.value])
