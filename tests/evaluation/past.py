"""Directories of training runs, as their files look."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from tests.colours import colour_bundle


def past_run(
    path: Path, top1: list[float | None], *, images: int | None = 200, network: str = "ghostnet_x1_0"
) -> Path:
    path.mkdir(parents=True)
    (path / "config.yaml").write_text(
        f"model: {{name: {json.dumps(network)}}}\nschedule: {{epochs: 3}}\nloop: {{batch_size: 64}}\n",
        encoding="utf-8",
    )
    entries: list[dict[str, Any]] = [
        {"epoch": epoch, "loss": 3.0 / epoch, "seconds": 60.0} | ({} if value is None else {"top1": value})
        for epoch, value in enumerate(top1, 1)
    ]
    log = "".join(json.dumps(entry) + "\n" for entry in entries)
    (path / "log.jsonl").write_text(log, encoding="utf-8")
    if images:
        record = {"train": {"images": 1000}, "val": {"images": images}}
        (path / "data.json").write_text(json.dumps(record), encoding="utf-8")
    return path


def past_runs(root: Path) -> Path:
    """Three runs with epochs, one of them finished and one in a folder of its own; and two folders more."""
    past_run(root / "short", [40.0])
    past_run(root / "long", [None, 60.0, 55.0])
    colour_bundle(root / "long" / "bundle")
    past_run(root / "student" / "distil", [50.0, 51.0], images=None)
    past_run(root / "empty", [])
    (root / "notes").mkdir()
    return root
