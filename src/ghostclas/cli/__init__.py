"""The command line: every verb parses its options, calls one function of the package and prints.

How to add a verb:
    1. One module here with one function, whose parameters are typer options and whose docstring is its help.
       The first line appears in ``ghostclas --help``. A verb with verbs of its own (``data audit``) is a
       ``typer.Typer()`` instead.
    2. One line in ``COMMANDS``: the word on the command line, and ``module:object``.
    3. No heavy import at the top of the module. The standard library, typer, ``ghostclas.cli.console`` and
       ``ghostclas.errors`` are cheap. numpy, pydantic, the rest of ghostclas and every runtime are imported
       inside the function, because ``--help`` imports all verbs and ``predict`` must start quickly.
    4. A user's mistake is a ``GhostclasError``, raised where it is detected. ``main`` prints it; no verb
       catches, prints or exits by itself. Results go to stdout, everything else to stderr, by ``console``.
"""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from importlib import import_module
from io import TextIOWrapper
from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from ghostclas.cli.console import discard_stdout, note, note_traceback
from ghostclas.cli.hints import command_hint, flag_hint
from ghostclas.cli.interrupts import EXIT_CODE, ending_with_ctrl_c
from ghostclas.cli.volume import add_volume, behind_the_verb
from ghostclas.errors import GhostclasError, Terminated, UsageError, command_line
from ghostclas.files import is_there
from ghostclas.terminal import printable_message
from ghostclas.volume import Volume, changing_volume, volume

COMMANDS: Mapping[str, str] = {
    "predict": "predict:predict_command",
    "explain": "explain:explain_command",
    "similar": "similar:similar_command",
    "train": "train:train_command",
    "ssld": "ssld:app",
    "eval": "evaluate:evaluate_command",
    "compare": "evaluate:compare_command",
    "runs": "runs:runs_command",
    "calibrate": "calibrate:calibrate_command",
    "export": "export:export_command",
    "import": "imports:import_command",
    "convert-config": "convert_config:convert_config_command",
    "verify": "verify:verify_command",
    "bench": "bench:app",
    "serve": "serve:serve_command",
    "models": "models:models_command",
    "info": "info:info_command",
    "data": "data:app",
    "doctor": "doctor:doctor_command",
    "completion": "completion:completion_command",
}

COMPLETION_VARIABLE = "_GHOSTCLAS_COMPLETE"
"""What a shell sets when it asks; typer derives it from the name of the program."""

_DISK_REFUSES = {errno.ENOSPC, errno.EFBIG, errno.EROFS, errno.EIO, getattr(errno, "EDQUOT", errno.ENOSPC)}
"""Errors that are no bug of ours, wherever they show."""


class LazyGroup(TyperGroup):
    """A group that imports a verb when it is named, so that no verb pays for another."""

    def list_commands(self, ctx: Any) -> list[str]:
        """Return the verbs in the order in which users need them."""
        return list(COMMANDS)

    def get_command(self, ctx: Any, cmd_name: str) -> Any:
        """Import and build the verb; return ``None`` for an unknown word."""
        if cmd_name not in COMMANDS:
            return None
        module, _, attribute = COMMANDS[cmd_name].partition(":")
        target = getattr(import_module(f"{__name__}.{module}"), attribute)
        if not isinstance(target, typer.Typer):
            verb = _typer()
            verb.command(cmd_name)(target)
            target = verb
        command = typer.main.get_command(target)
        command.name = cmd_name
        if ctx.obj is not None:
            add_volume(command, ctx.obj)
        if COMPLETION_VARIABLE in os.environ:
            from ghostclas.cli.values import add_values

            add_values(command)
        return command

    def invoke(self, ctx: Any) -> Any:
        """Run the verb; a run that SIGTERM ended has its own exit code, since typer knows Ctrl-C alone."""
        try:
            return super().invoke(ctx)
        except Terminated as stop:
            raise typer.Exit(stop.exit_code) from stop

    def resolve_command(self, ctx: Any, args: list[str]) -> Any:
        """Find the verb of ``args``; the error for an unknown one offers the nearest."""
        word = args[0]
        if word not in COMMANDS and not word.startswith("-"):
            hint = command_hint(word, COMMANDS, self._below(ctx))
            if not hint and is_there(word):
                hint = f"; to label it: {command_line('ghostclas', 'predict', word)}"
            raise UsageError(f"there is no command {word!r}{hint or '; see: ghostclas --help'}")
        return super().resolve_command(ctx, args)

    def _below(self, ctx: Any) -> Iterator[tuple[str, str]]:
        """Yield the verbs of the commands that have verbs of their own, whose modules are then imported."""
        for name, where in COMMANDS.items():
            if where.endswith(":app"):
                yield from ((name, verb) for verb in self.get_command(ctx, name).commands)


def _typer(**options: Any) -> typer.Typer:
    # Plain help: importing rich takes longer than a prediction.
    return typer.Typer(
        add_completion=False,
        rich_markup_mode=None,
        context_settings={"help_option_names": ["-h", "--help"]},
        **options,
    )


def _version(wanted: bool) -> None:
    if wanted:
        from ghostclas import __version__

        typer.echo(f"ghostclas {__version__}")
        raise typer.Exit


app = _typer(cls=LazyGroup)


@app.callback()
def ghostclas(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """Turn a folder of photos into a small, fast image classifier, and put it to work.

    Every command takes --quiet (results and errors only) and --verbose (what was chosen and why, too).
    """


def main(args: Sequence[str] | None = None) -> int:
    """Run the command line on ``args`` (``sys.argv[1:]`` when absent) and return its exit code.

    A user's mistake prints ``error: ...`` on stderr and has its own code (see ``ghostclas.errors``); unknown
    words and flags have 2. An interrupt returns 130, SIGTERM during training 143, a closed pipe ends quietly.
    A bug raises.
    """
    _replace_closed_streams()
    _use_utf8()
    with changing_volume(note) as change:
        return _main(behind_the_verb(sys.argv[1:] if args is None else args), change)


def _main(args: list[str], change: Callable[[Volume], None]) -> int:
    if COMPLETION_VARIABLE in os.environ:
        # A shell asks what it could complete; typer answers it before any verb runs.
        from typer.completion import completion_init  # type: ignore[attr-defined]

        completion_init()
    try:
        with ending_with_ctrl_c(args[0]):
            code = typer.main.get_command(app).main(
                args=_with_resume_auto(args), prog_name="ghostclas", standalone_mode=False, obj=change
            )
        sys.stdout.flush()
    except GhostclasError as error:
        if volume() is Volume.VERBOSE:
            note_traceback(error)
        return _fail(str(error), error.exit_code)
    except typer.TyperException as error:
        context = getattr(error, "ctx", None)
        where = f"\n       see: {context.command_path} --help" if context else ""
        return _fail(_refusal(error, context) + where, error.exit_code)
    except (KeyboardInterrupt, typer.Abort):
        return EXIT_CODE
    except BrokenPipeError:
        # The reader of the pipe has closed it.
        discard_stdout()
        return 1
    except OSError as error:
        if error.errno not in _DISK_REFUSES:
            raise
        where = f"cannot write {os.fsdecode(error.filename)}" if error.filename else "cannot write"
        return _fail(
            f"{where}: {error.strerror}; make room, or choose another folder", GhostclasError.exit_code
        )
    return code if isinstance(code, int) else 0


def _refusal(error: typer.TyperException, context: Any) -> str:
    """Return the message of a word or flag that typer refused, in our words."""
    flag = getattr(error, "option_name", None)
    if context and flag and type(error).__name__ == "NoSuchOption":
        known = [name for option in context.command.params if not option.hidden for name in option.opts]
        return f"no such option: {flag}{flag_hint(flag, known)}"
    message = error.format_message().replace(": Value error, ", ": ", 1)
    return message[:1].lower() + message[1:]


def _with_resume_auto(args: list[str]) -> list[str]:
    """Rewrite ``train --resume auto``, since a typer option always or never takes a value.

    Raises:
        UsageError: another value, such as a run; the message is the command that continues it.
    """
    if args[:1] != ["train"]:
        return args
    spelled: list[str] = []
    for arg in args:
        if arg == "auto" and spelled[-1] == "--resume":
            spelled[-1] = "--resume-auto"
        elif spelled[-1:] == ["--resume"] and not arg.startswith("-"):
            going_on = command_line("ghostclas", "train", "--output", arg, "--resume")
            raise UsageError(
                f"--resume takes no value but auto, got {arg!r}\n       to continue that run: {going_on}"
            )
        else:
            spelled.append("--resume-auto" if arg == "--resume=auto" else arg)
    return spelled


def _replace_closed_streams() -> None:
    # Otherwise the next opened file would get the number of the closed stream, and the printed text.
    for name, mode in (("stdin", "r"), ("stdout", "w"), ("stderr", "w")):
        if getattr(sys, name) is None:
            setattr(sys, name, Path(os.devnull).open(mode, encoding="utf-8"))  # noqa: SIM115


def _use_utf8() -> None:
    # Files and pipes must hold labels in any script on every system; a terminal has its own encoding.
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(encoding=None if stream.isatty() else "utf-8", errors="backslashreplace")


def _fail(message: str, code: int) -> int:
    sys.stderr.write(printable_message(f"error: {message}") + "\n")
    return code
