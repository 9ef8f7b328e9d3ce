"""A model of clothing photos for the benchmarks that need one: trained once, in a few minutes, and kept."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

RUN = Path("runs") / "clothing-answers"
OPTIONS = ["--recipe", "finetune", "--size", "128", "--epochs", "6", "--set", "data.progressive=[]"]


def clothing_model(data: Path) -> Path:
    """Return the run of a model trained on ``data/clothing/train``; one that is there is used."""
    if not (RUN / "bundle" / "manifest.json").exists():
        command = [sys.executable, "-m", "ghostclas", "train", "--data", str(data / "clothing"), *OPTIONS]
        resume = ["--resume"] if (RUN / "config.yaml").exists() else []
        subprocess.run([*command, "--output", str(RUN), *resume], check=True, stdout=sys.stderr)
    return RUN
