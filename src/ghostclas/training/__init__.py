"""Training (needs torch): from labelled images to a run directory with a bundle in it."""

from ghostclas.training.config import TrainConfig, resolve_config
from ghostclas.training.run import Run, train

__all__ = ["Run", "TrainConfig", "resolve_config", "train"]
