"""Semi-supervised label distillation, the half without training: scoring and mining.

    with open_teacher(TeacherConfig(model="runs/teacher")) as teacher:
        mined = mine(teacher, open_splits("photos"), open_pool("more-photos"), cache)

Importing it needs no torch, and neither does a teacher that is a bundle or an ONNX file. What it picks is
learned from in ``ghostclas.training.ssld``, which does need torch: that is why there are two packages.
"""

from ghostclas.ssld.cache import LogitCache
from ghostclas.ssld.config import MineConfig, TeacherConfig
from ghostclas.ssld.mine import Mined, mine
from ghostclas.ssld.score import Scores, open_cache, score
from ghostclas.ssld.teacher import Teacher, open_teacher

__all__ = [
    "LogitCache",
    "MineConfig",
    "Mined",
    "Scores",
    "Teacher",
    "TeacherConfig",
    "mine",
    "open_cache",
    "open_teacher",
    "score",
]
