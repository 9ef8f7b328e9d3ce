"""A few photos of each class: ours, timm, fastai and logistic regression, from the same weights.

    python benchmarks/small_data.py ../shared/data/clothing [--photos 10,30,100] [--seeds 0,1,2] [--methods
    NAME,...]

The data: clothing-dataset-small (CC0), 10 classes. The training photos are drawn from `train` by the seed,
without a validation part: a method that needs one takes it from them. Top-1 and calibration error are those
on all 341 photos of `val`, which no method sees before. The contestants are described in small_data_side.py;
ours are `ghostclas train` and `ghostclas train --fast`, without any other option than the seed.

Each run is a line of results/small_data.jsonl; runs that have a line are not repeated. Writes
results/small_data.md from all lines. Runs and photos are below runs/small_data.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from ghostclas.bench.machine import describe_machine
from ghostclas.evaluation import summarize
from ghostclas.evaluation.metrics import wilson_interval
from ghostclas.processor import usable_cores

HERE = Path(__file__).parent
LINES, TABLE = HERE / "results" / "small_data.jsonl", HERE / "results" / "small_data.md"
RUNS = Path("runs") / "small_data"
BESIDE = "other work beside it"
"""A note on the machine with which the minutes of a run say nothing."""
METHODS = {
    "ghostclas": "ghostclas train",
    "fast": "ghostclas train --fast",
    "timm": "timm's GhostNet, `train.py`, AdamW",
    "fastai": "fastai's `fine_tune(20)`",
    "logistic": "logistic regression on the features",
}


def drawn(data: Path, each: int, seed: int) -> Path:
    """Return a folder with ``each`` photos of every class, drawn by ``seed``; classes with fewer give all."""
    folder = RUNS / "photos" / f"{each}-{seed}"
    if not folder.is_dir():
        part = folder.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        for group in sorted(path for path in (data / "train").iterdir() if path.is_dir()):
            files = sorted(
                group.iterdir(), key=lambda file: hashlib.sha256(f"{seed}/{file.name}".encode()).digest()
            )
            (part / group.name).mkdir(parents=True)
            for file in files[:each]:
                shutil.copyfile(file, part / group.name / file.name)
        part.rename(folder)
    return folder


def ours(method: str, data: Path, photos: Path, seed: int, scratch: Path) -> tuple[float, float, float]:
    """Return the seconds of the command, and top-1 and calibration error of its bundle in percent."""
    run = scratch / "run"
    command = [sys.executable, "-m", "ghostclas", "train", "--data", str(photos), "--output", str(run)]
    began = time.monotonic()
    subprocess.run(
        [*command, *(["--fast"] if method == "fast" else ["--set", f"loop.seed={seed}"])],
        check=True,
        stdout=sys.stderr,
    )
    seconds = time.monotonic() - began
    command = [sys.executable, "-m", "ghostclas", "eval", "--data", str(data), "--model", str(run), "--json"]
    found = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return seconds, found["top1"], 100 * found["calibration"]["ece"]


def theirs(method: str, data: Path, photos: Path, seed: int, scratch: Path) -> tuple[float, float, float]:
    """The same of a contestant in small_data_side.py."""
    target = scratch / "answers.npz"
    words = [method, str(photos), str(data / "val"), str(seed), str(target)]
    command = [sys.executable, str(HERE / "small_data_side.py"), *words]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    answers = np.load(target)
    classes = tuple(sorted(path.name for path in photos.iterdir()))
    summary = summarize(answers["logits"], answers["labels"], classes=classes)
    return json.loads(done.stdout)["seconds"], summary.top1, 100 * summary.calibration.ece


def lines() -> list[dict[str, Any]]:
    return (
        [json.loads(line) for line in LINES.read_text(encoding="utf-8").splitlines()]
        if LINES.exists()
        else []
    )


def write_table(found: list[dict[str, Any]]) -> None:
    text = [
        "# A few photos of each class",
        "",
        "GhostNet x1.0 from the built-in weights, clothing-dataset-small, 10 classes. Top-1 and calibration "
        "error (ECE, 15 bins) in percent on 341 photos that no method has seen, mean of the seeds; "
        "where there are several, their smallest and largest.",
        "",
        "| photos a class | method | seeds | top-1 | ECE | minutes |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for each in sorted({line["photos"] for line in found}):
        for method, title in METHODS.items():
            rows = [line for line in found if (line["photos"], line["method"]) == (each, method)]
            if rows:
                seeds = ", ".join(str(seed) for seed in sorted(line["seed"] for line in rows))
                figures = " | ".join(_figure([line[key] for line in rows]) for key in ("top1", "ece"))
                text.append(f"| {each} | {title} | {seeds} | {figures} | {_minutes(rows) or '-'} |")
    low, high = wilson_interval(round(0.75 * 341), 341)
    machines = sorted({line["machine"] for line in found})
    text += [
        "",
        f"One run's top-1 is known to about {(high - low) / 2:.0f} points more or less, from the number of "
        "photos alone. Minutes are those of the whole command, start and export included, of runs that had "
        f"the machine for themselves, by its processor; others have the note: {BESIDE}.",
        "",
        f"{'; '.join(machines)}. `python benchmarks/small_data.py clothing` makes the rows that are missing.",
        "",
    ]
    TABLE.write_text("\n".join(text), encoding="utf-8")
    print("\n".join(text))


def _minutes(rows: list[dict[str, Any]]) -> str:
    """Return the mean of the runs that had a machine for themselves, by its processor."""
    alone: dict[str, list[float]] = {}
    for line in rows:
        if BESIDE not in line["machine"]:
            alone.setdefault(line["machine"].split(",")[0], []).append(line["seconds"] / 60)
    return "; ".join(f"{statistics.fmean(values):.1f} ({name})" for name, values in sorted(alone.items()))


def _figure(values: list[float]) -> str:
    mean = f"{statistics.fmean(values):.2f}"
    return f"{mean} ({min(values):.2f} to {max(values):.2f})" if len(values) > 1 else mean


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--photos", default="10,30,100")
    parser.add_argument("--seeds", default="0,1,2")
    parser.add_argument("--methods", default=",".join(METHODS))
    parser.add_argument("--note", default="", help=f"on the machine, such as: {BESIDE}")
    arguments = parser.parse_args()
    threads = os.environ.get("OMP_NUM_THREADS", "all")
    machine = f"{describe_machine()}, {usable_cores()} usable cores, OMP_NUM_THREADS {threads}"
    machine += f", {arguments.note}" if arguments.note else ""
    for each in map(int, arguments.photos.split(",")):
        for seed in map(int, arguments.seeds.split(",")):
            for method in arguments.methods.split(","):
                key = {"photos": each, "seed": seed, "method": method}
                if any(key.items() <= line.items() for line in lines()):
                    continue
                folder = drawn(arguments.data, each, seed)
                with tempfile.TemporaryDirectory(prefix="small-data-") as scratch:
                    run = ours if method in ("ghostclas", "fast") else theirs
                    seconds, top1, ece = run(method, arguments.data, folder, seed, Path(scratch))
                line = {
                    **key,
                    "top1": top1,
                    "ece": round(ece, 3),
                    "seconds": round(seconds, 1),
                    "machine": machine,
                }
                with LINES.open("a", encoding="utf-8") as file:
                    file.write(json.dumps(line) + "\n")
                print(line, file=sys.stderr)
    write_table(lines())


if __name__ == "__main__":
    main()
