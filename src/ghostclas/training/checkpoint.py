"""Checkpoints: whole or not at all, with a sha256; the one before stays until the next is complete."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import torch

from ghostclas.errors import TrainingError
from ghostclas.files import check_regular, replacing
from ghostclas.weights.sealed import check_seal, seal

SCHEMA = 1


def save_checkpoint(state: dict[str, Any], path: Path, *, keep_previous: bool = True) -> None:
    """Write ``state`` (tensors and plain containers) to ``path``.

    A kill at any instant leaves ``path`` or ``<stem>.previous.pt`` complete.

    Raises:
        TrainingError: the disk is full or cannot be written; the earlier checkpoint is intact.
    """
    try:
        kept = previous(path) if keep_previous else None
        with replacing(path, previous=kept) as part:
            with part.open("wb") as file:
                torch.save({"schema": SCHEMA, **state}, file)
            seal(part)
    except (OSError, RuntimeError, ValueError) as error:
        # torch reports a full disk as a RuntimeError of its zip writer.
        raise TrainingError(
            f"cannot write the checkpoint {path}: {error}\n"
            "       the one before it is intact: make room, then continue with --resume"
        ) from error


def previous(path: Path) -> Path:
    """Return where the checkpoint before ``path`` is kept."""
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def load_checkpoint(path: Path) -> dict[str, Any] | None:
    """Return the newest readable state at ``path``, or ``None`` where there is none at all.

    If the newest is unreadable or damaged, a warning says so, and the one before it is returned.

    Raises:
        TrainingError: checkpoints exist and none can be read.
    """
    candidates = [candidate for candidate in (path, previous(path)) if candidate.exists()]
    for candidate in candidates:
        try:
            state = read_checkpoint(candidate)
        except TrainingError as error:
            warnings.warn(
                f"the checkpoint {candidate} cannot be read ({_first_line(error)}); trying the one before it",
                stacklevel=2,
            )
            continue
        if state.get("schema") == SCHEMA:
            return state
        raise TrainingError(f"{candidate} has checkpoint schema {state.get('schema')}, not {SCHEMA}")
    if candidates:
        raise TrainingError(f"no checkpoint in {path.parent} can be read; start again with another --output")
    return None


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return the state in the one file ``path``. Those of earlier versions, without a sha256, are read, too.

    Raises:
        TrainingError: it is missing or damaged.
    """
    # A damaged file can raise almost any exception.
    try:
        check_regular(path)
        check_seal(path)
        state = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:
        raise TrainingError(_first_line(error)) from error
    if not isinstance(state, dict):
        raise TrainingError("it holds no state")
    return state


def _first_line(error: Exception) -> str:
    return (str(error).splitlines() or [type(error).__name__])[0]
