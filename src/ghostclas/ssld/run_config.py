"""The configuration of a run that learns from a teacher: training's, and the group ``distil``."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, ClassVar, Self

from pydantic import BaseModel, model_validator

from ghostclas.errors import UsageError, refuse_url
from ghostclas.ssld.config import DistilConfig, TeacherConfig
from ghostclas.training.config import (
    TrainConfig,
    absolute_model,
    absolute_path,
    called,
    resolve_config,
    settings_tree,
)

DEFAULT_RECIPE = "ssld"


class SsldConfig(TrainConfig):
    """The configuration of one reproducible distillation."""

    renamed: ClassVar[Mapping[str, str]] = {"distil.fed_epochs": "distil.blockwise_epochs"}

    working: ClassVar[frozenset[str]] = frozenset({"distil.mine.cache"})
    unrecorded: ClassVar[frozenset[str]] = frozenset({"distil.mine.pool", "distil.adapt"})

    distil: DistilConfig = DistilConfig()

    @property
    def teacher(self) -> TeacherConfig:
        """The teacher.

        Raises:
            UsageError: the configuration names none.
        """
        if self.distil.teacher is None:
            raise UsageError(
                "there is no teacher: give --teacher, or use ghostclas train to learn from labels"
            )
        return self.distil.teacher

    @model_validator(mode="after")
    def _distillation_fits(self) -> SsldConfig:
        distil = self.distil
        if distil.views and (self.augment.mixup or self.augment.cutmix):
            raise ValueError(
                "distil.views stores whole views: set augment.mixup=0 and augment.cutmix=0, or distil.views=0"
            )
        if distil.features and distil.views:
            raise ValueError("distil.features follows maps, which are not stored: set distil.views=0")
        if distil.blockwise_epochs and not distil.features:
            raise ValueError("distil.blockwise_epochs needs the teacher's maps: set distil.features=1")
        if distil.blockwise_epochs and distil.blockwise_epochs >= self.schedule.epochs:
            raise ValueError(
                f"distil.blockwise_epochs {distil.blockwise_epochs:g} leaves none of schedule.epochs "
                f"{self.schedule.epochs:g} to train the student as a whole"
            )
        if distil.features and distil.resolution:
            raise ValueError(
                "distil.features compares maps of the same views: leave distil.resolution out, or set "
                "distil.features=0"
            )
        if distil.views and len(self.data.sides) > 1:
            raise ValueError(
                "distil.views stores views of one size: set data.progressive=[], or distil.views=0"
            )
        return self

    def absolute(self) -> Self:
        """Return the same configuration with absolute paths; see ``TrainConfig.absolute``."""
        config, distil = super().absolute(), self.distil
        paths: dict[str, Any] = _absolute(distil, "mined", "cache")
        paths["mine"] = distil.mine.model_copy(update=_absolute(distil.mine, "pool", "cache"))
        if distil.teacher is not None:
            word = {"model": absolute_model(distil.teacher.model)}
            files = _absolute(distil.teacher, "weights", "classes", "mapping")
            paths["teacher"] = distil.teacher.model_copy(update=word | files)
        return config.model_copy(update={"distil": distil.model_copy(update=paths)})

    def provenance(self) -> dict[str, Any]:
        """Return the settings and who taught; see ``TrainConfig.provenance``."""
        known = super().provenance()
        for place in ("teacher", "mined", "cache"):
            known["config"]["distil"].pop(place)
        for place in ("pool", "cache"):
            known["config"]["distil"]["mine"].pop(place)
        if self.distil.teacher:
            known["taught_by"] = called(self.distil.teacher.model)
        return known


def _absolute(group: BaseModel, *names: str) -> dict[str, str]:
    """Return the named settings that are given, as absolute paths."""
    given = {name: getattr(group, name) for name in names}
    return {name: absolute_path(path) for name, path in given.items() if path is not None}


def ssld_config(
    teacher: TeacherConfig | str | None,
    labeled: str | Path | None,
    *,
    network: str | None = None,
    recipe: str = DEFAULT_RECIPE,
    settings: Iterable[str] = (),
    mined: str | Path | None = None,
    pool: str | Path | None = None,
    cache: str | Path | None = None,
    adapt: bool | None = None,
) -> SsldConfig:
    """Return the configuration of the recipe for this teacher and these images.

    An argument that is ``None`` leaves the recipe's value.

    Raises:
        UsageError: a setting does not exist, or no teacher is named.
    """
    given: dict[str, Any] = {"distil": {"mine": {}}}
    for key, place in (("pool", pool), ("cache", cache)):
        if place is not None:
            given["distil"]["mine"][key] = str(place)
    if adapt is not None:
        given["distil"]["adapt"] = adapt
    if teacher is not None:
        teacher = TeacherConfig(model=teacher) if isinstance(teacher, str) else teacher
        given["distil"]["teacher"] = teacher.model_dump(exclude_none=True)
    if mined is not None:
        given["distil"]["mined"] = str(mined)
    if labeled is not None:
        refuse_url(str(labeled))
        given["data"] = {"path": str(Path(labeled))}
    if network is not None:
        given["model"] = {"name": network}
    config = resolve_config(recipe, settings, given, schema=SsldConfig)
    _ = config.teacher
    return config


def wants_teacher(recipe: str | None, settings: Iterable[str] = ()) -> bool:
    """Whether a recipe, with these settings on top, distils."""
    return settings_tree(recipe, settings).get("distil") is not None
