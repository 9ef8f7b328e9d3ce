"""What to type in place of a word or a flag that the command line does not know."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping

from ghostclas.errors import did_you_mean

OTHER_FLAGS: Mapping[str, str] = {
    "--learning-rate": "--lr",
    "--lr0": "--lr",
    "--base-lr": "--lr",
    "--bs": "--batch-size",
    "--max-epochs": "--epochs",
    "--num-epochs": "--epochs",
    "--image-size": "--size",
    "--img-size": "--size",
    "--imgsz": "--size",
    "--input-size": "--size",
    "--resolution": "--size",
    "--arch": "--network",
    "--architecture": "--network",
    "--pretrained": "--weights",
    "--out": "--output",
    "--out-dir": "--output",
    "--output-dir": "--output",
    "--project": "--output",
    "--save-dir": "--output",
    "--topk": "--top",
    "--top-k": "--top",
    "--conf": "--min-score",
}
"""Flags that other programs have, with those that do the same here."""


def flag_hint(flag: str, known: Collection[str]) -> str:
    """Return ``"; did you mean '--size'?"`` for a flag that a command has not, else ``""``.

    Args:
        flag: as it was given.
        known: the flags of the command.
    """
    plain = flag.replace("_", "-").lower()
    same = plain if plain in known else OTHER_FLAGS.get(plain)
    return f"; did you mean {same!r}?" if same in known else did_you_mean(flag, known)


def command_hint(word: str, commands: Collection[str], below: Iterable[tuple[str, str]]) -> str:
    """Return ``"; did you mean 'bench recommend'?"`` for a word that is no command, else ``""``.

    Args:
        word: as it was given.
        commands: the commands.
        below: ``(command, verb)`` of those that have verbs of their own.
    """
    same = [f"{command} {verb}" for command, verb in below if verb == word]
    return f"; did you mean {' or '.join(map(repr, same))}?" if same else did_you_mean(word, commands)
