"""The value of the built-in weights: fine-tuning on clothing photos, compared with random weights.

    python benchmarks/clothing_finetune.py ../shared/data/clothing [--seeds 3] [--former BUNDLE]
        [--set key=value]...

The data: clothing-dataset-small (CC0), 3,068 photos to train on and 341 to validate, 10 classes. Trains with
the recipe `finetune` from the built-in weights and from random ones (the whole network from the first step),
seeds interleaved, through the `ghostclas` command. --former adds the weights of another bundle, such as the
previous built-in model, which the history of its folder holds. Runs are in runs/clothing-*; finished ones are
kept, and interrupted ones are resumed. Writes results/clothing_finetune.md.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
from pathlib import Path

from ghostclas.bench.machine import describe_machine

RESULTS = Path(__file__).parent / "results" / "clothing_finetune.md"
STARTS = {
    "built-in weights": [],
    "random weights": ["model.weights=null", "schedule.head_epochs=0", "optimizer.body_lr=1"],
}


def train(data: str, start: str, begin: list[str], seed: int, settings: list[str]) -> tuple[float, float]:
    """Return the top-1 of a run's bundle in percent, and the minutes of its epochs."""
    run = Path("runs") / f"clothing-{start.split()[0]}-{seed}"
    if not (run / "report" / "report.json").exists():
        command = [sys.executable, "-m", "ghostclas", "train", "--data", data, "--recipe", "finetune"]
        for setting in [*begin, *settings, f"loop.seed={seed}"]:
            command += ["--set", setting]
        resume = ["--resume"] if (run / "config.yaml").exists() else []
        subprocess.run([*command, "--output", str(run), *resume], check=True, stdout=sys.stderr)
    manifest = json.loads((run / "bundle" / "manifest.json").read_text())
    epochs = [json.loads(line) for line in (run / "log.jsonl").read_text().splitlines()]
    return manifest["metrics"][0]["top1"], sum(epoch["seconds"] for epoch in epochs) / 60


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--former", help="a bundle whose weights to start from, too")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    arguments = parser.parse_args()
    starts = dict(STARTS)
    if arguments.former:
        starts["former built-in weights"] = [f"model.weights={arguments.former}"]
    found: dict[str, list[tuple[float, float]]] = {start: [] for start in starts}
    for seed in range(arguments.seeds):
        for start, results in found.items():
            results.append(train(arguments.data, start, starts[start], seed, arguments.settings))
            print(f"seed {seed}, {start}: {results[-1][0]:.2f} %", file=sys.stderr)
    lines = [
        "# Fine-tuning on clothing photos",
        "",
        "GhostNet x1.0, recipe `finetune`, clothing-dataset-small: 3,068 photos to train on, 341 to "
        "validate, 10 classes. Top-1 on `val` of the finished bundle.",
        "",
        "| starts from | "
        + " | ".join(f"seed {seed}" for seed in range(arguments.seeds))
        + " | mean | minutes |",
        "| --- |" + " --- |" * (arguments.seeds + 2),
    ]
    for start, results in found.items():
        cells = " | ".join(f"{top1:.2f}" for top1, _ in results)
        mean = statistics.fmean(top1 for top1, _ in results)
        minutes = statistics.fmean(minutes for _, minutes in results)
        lines.append(f"| {start} | {cells} | {mean:.2f} | {minutes:.0f} |")
    threads = f"OMP_NUM_THREADS={value} " if (value := os.environ.get("OMP_NUM_THREADS")) else ""
    options = "".join(f" --set {setting}" for setting in arguments.settings)
    if arguments.former:
        options = f" --former {Path(arguments.former).name}{options}"
    if arguments.seeds != parser.get_default("seeds"):
        options = f" --seeds {arguments.seeds}{options}"
    lines += [
        "",
        f"{describe_machine()}; the minutes are those of the epochs, without the export. "
        f"`{threads}python benchmarks/clothing_finetune.py clothing{options}` repeats it.",
        "",
    ]
    text = "\n".join(lines)
    print(text)
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(text)


if __name__ == "__main__":
    main()
