"""Semi-supervised label distillation: a teacher answers unlabelled images, and a student learns the answers.

    from ghostclas import ssld

    run = ssld.distil(teacher="runs/teacher", labeled="photos", unlabeled="more-photos")

Each step is a function as well. Names are imported when they are first used: scoring and mining with a
teacher that is a bundle or an ONNX file need no torch.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from ghostclas.ssld.cache import LogitCache
    from ghostclas.ssld.config import DistilConfig, MineConfig, TeacherConfig
    from ghostclas.ssld.mining import Mined, mine
    from ghostclas.ssld.opening import open_teacher
    from ghostclas.ssld.pipeline import adapt, distil, finetune, train_student
    from ghostclas.ssld.run_config import SsldConfig
    from ghostclas.ssld.scoring import Scores, open_cache, score
    from ghostclas.ssld.teacher import Teacher

__all__ = [
    "DistilConfig",
    "LogitCache",
    "MineConfig",
    "Mined",
    "Scores",
    "SsldConfig",
    "Teacher",
    "TeacherConfig",
    "adapt",
    "distil",
    "finetune",
    "mine",
    "open_cache",
    "open_teacher",
    "score",
    "train_student",
]

_HOMES = {
    "DistilConfig": "config",
    "LogitCache": "cache",
    "MineConfig": "config",
    "Mined": "mining",
    "Scores": "scoring",
    "SsldConfig": "run_config",
    "Teacher": "teacher",
    "TeacherConfig": "config",
    "adapt": "pipeline",
    "distil": "pipeline",
    "finetune": "pipeline",
    "mine": "mining",
    "open_cache": "scoring",
    "open_teacher": "opening",
    "score": "scoring",
    "train_student": "pipeline",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'ghostclas.ssld' has no attribute {name!r}")
    return getattr(import_module(f"ghostclas.ssld.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
