"""Training (needs torch): from labelled images to a run directory with a bundle in it."""

from ghostclas.train.config import TrainConfig, resolve_config
from ghostclas.train.run import Run, train

__all__ = ["Run", "TrainConfig", "resolve_config", "train"]
