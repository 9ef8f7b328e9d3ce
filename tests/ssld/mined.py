"""Mining from a small pool."""

from __future__ import annotations

from pathlib import Path

from ghostclas.data import open_splits
from ghostclas.ssld import MineConfig, Mined, TeacherConfig, mine, open_cache, open_teacher


def mined(colours: tuple[Path, Path, Path], cache: Path, **settings: object) -> Mined:
    bundle, data, pool = colours
    teacher = open_teacher(TeacherConfig(model=str(bundle)), threads=1)
    config = MineConfig.model_validate({"neighbours": 3, **settings})
    return mine(teacher, open_splits(data), pool, open_cache(teacher, cache), config)
