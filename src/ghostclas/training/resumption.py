"""Checks of a resumed run against the settings and the images that it was started with."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import ValidationError

from ghostclas.data.identity import Fingerprint, explain_difference, fingerprint
from ghostclas.data.splits import Splits
from ghostclas.errors import TrainingError, UsageError
from ghostclas.files import read_regular
from ghostclas.spec import Frozen
from ghostclas.training.config import TrainConfig, differences

MAX_RECORD_BYTES = 64 << 20
"""The largest record of images or log of a run that is read."""

Resume = bool | Literal["auto"]

# Settings that do not change what a run learns.
_WORKING = ("data.workers", "data.max_bad", "loop.save_minutes", "loop.keep_memory", "loop.trackers")
# Settings that say where the images are.
_PLACES = ("data.path", "data.root", "data.label_file")
_LENGTH = ("schedule.epochs", "loop.time")


class DataRecord(Frozen):
    """The identity of the images of a run: ``data.json`` in its directory."""

    train: Fingerprint
    val: Fingerprint

    @classmethod
    def of(cls, splits: Splits) -> DataRecord:
        """Return the record of these images. Reads none of them."""
        return cls(train=fingerprint(splits.train), val=fingerprint(splits.val))

    @classmethod
    def read(cls, path: Path) -> DataRecord | None:
        """Return the record at ``path``, or ``None`` where an earlier version of this package wrote none.

        Raises:
            TrainingError: it is damaged.
        """
        try:
            return cls.model_validate_json(read_regular(path, MAX_RECORD_BYTES))
        except FileNotFoundError:
            return None
        except (ValidationError, OSError) as error:
            raise TrainingError(
                f"{path} cannot be read ({str(error).splitlines()[0]}); remove it to go on without checking "
                "that the images are the same"
            ) from None


def check_settings(started: TrainConfig, given: TrainConfig, run: Path, *, same_images: bool) -> None:
    """Refuse to resume with settings that would make another run.

    Args:
        started: the settings that the run was started with.
        given: those to go on with.
        run: the run's directory, for the message.
        same_images: the images are known to be the same, so that they may have moved.

    Raises:
        UsageError: naming each setting that differs, and the way to a longer or shorter run.
    """
    changed = differences(started.absolute(), given.absolute())
    may_change = {*_WORKING, *given.working, *(_PLACES if same_images else ())}
    refused = [
        line
        for line in changed
        if line.partition(":")[0] not in may_change
        and not any(line.startswith(f"{key}: None -> ") for key in given.unrecorded)
    ]
    if not refused:
        return
    advice = "resume with the settings of config.yaml, or choose another --output"
    if any(line.startswith(_LENGTH) for line in refused):
        advice += (
            "\n       the learning rate follows the length of a run: to train for longer, start another run"
            f"{_from_its_weights(run)} with another --output"
        )
    raise UsageError(
        f"{run} was started with other settings:\n       " + "\n       ".join([*refused, advice])
    )


def _from_its_weights(run: Path) -> str:
    # Before a run has finished, it has no bundle that ``--weights RUN`` could mean, and at first no weights.
    best = run / "checkpoints" / "best.pt"
    weights = run if (run / "bundle").is_dir() else best if best.is_file() else None
    return f" from the weights of this one, with --weights {weights}, and" if weights else ""


def check_images(started: DataRecord, found: DataRecord, run: Path, location: str) -> None:
    """Refuse to resume on other images than those that the run was started with.

    Raises:
        TrainingError: naming the classes, counts and files that differ.
    """
    changed = [
        f"{name}: {difference}"
        for name, difference in (
            ("train", explain_difference(started.train, found.train)),
            ("val", explain_difference(started.val, found.val)),
        )
        if difference
    ]
    if changed:
        raise TrainingError(
            f"{run} was started with other images than those in {location}:\n       "
            + "\n       ".join(changed)
            + "\n       put the images back as they were, or start a new run with another --output"
        )
