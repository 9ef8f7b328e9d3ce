"""Distillations of small photos, and their losses."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from accelerate.state import AcceleratorState

from ghostclas.data import open_splits
from ghostclas.ssld.objective import build_objective
from ghostclas.ssld.opening import open_training_teacher
from ghostclas.ssld.run_config import SsldConfig
from ghostclas.training import resolve_config
from ghostclas.training.objective import RunContext
from tests.training.runs import SETTINGS


def distilling(data: Path, *more: str) -> SsldConfig:
    given = {"data": {"path": str(data)}, "distil": {"teacher": {"model": "t"}}}
    return resolve_config("scratch", [*SETTINGS, *more], given, schema=SsldConfig)


def objective(folder: Path, teacher: Path, *more: str) -> Any:
    config = distilling(folder, f"distil.teacher.model={teacher}", *more)
    source = open_splits(folder).train
    # Whatever ran before in this process, in whatever precision.
    AcceleratorState._reset_state()
    accelerator = Accelerator(cpu=True)
    context = RunContext(accelerator, workers=0, say=lambda _: None)
    opened = open_training_teacher(config.teacher)
    return build_objective(config, opened, source, source, context), config, source


def normalised(config: SsldConfig, pixels: torch.Tensor) -> torch.Tensor:
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (config.data.mean, config.data.std))
    return (pixels / 255 - mean) / std
