"""Semi-supervised label distillation: a teacher, its answers, the pictures worth learning from, a student.

    from ghostclas import ssld

    run = ssld.distil(teacher="runs/teacher", labeled="photos", unlabeled="more-photos")

Each step is a function as well. Distilling needs torch; importing the room does not, and neither do scoring
and mining with a teacher that is a bundle or an ONNX file.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from ghostclas.ssld.cache import LogitCache
from ghostclas.ssld.config import DistilConfig, MineConfig, TeacherConfig
from ghostclas.ssld.mine import Mined, mine
from ghostclas.ssld.score import Scores, open_cache, score
from ghostclas.ssld.teacher import Teacher, open_teacher

if TYPE_CHECKING:
    from ghostclas.ssld.pipeline import adapt, distil, finetune, train_student

__all__ = [
    "DistilConfig",
    "LogitCache",
    "MineConfig",
    "Mined",
    "Scores",
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


def __getattr__(name: str) -> Any:
    if name not in __all__:
        raise AttributeError(f"module 'ghostclas.ssld' has no attribute {name!r}")
    return getattr(import_module("ghostclas.ssld.pipeline"), name)
