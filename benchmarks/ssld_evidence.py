"""The gain of SSLD over cross-entropy, with all and with a fifth of the images labelled.

    python benchmarks/ssld_evidence.py ../shared/data/tiny-imagenet-200.zip --work /somewhere \\
        [--precision bf16] [--device cuda]

The student, the epochs, the resolution and the augmentation are the same in all cells: the recipe
`ssld_evidence.yaml` beside this file. SSLD distils for E epochs and fine-tunes for F, and cross-entropy
trains for E + F. The teacher of each row is EfficientNet-Lite0, adapted with that row's labels only. On a CPU
its answers to stored views are computed once, on a GPU in every step. With a fifth labelled, the other
training images are the pool; with all labelled there is none. An epoch is a pass over all images of a method,
so SSLD with a pool takes more steps: `--equal-steps` adds cross-entropy with as many.

Each cell is a folder and a file under --work; finished cells are kept, and stopped ones are resumed. Writes
results/ssld_evidence.md and results/ssld_evidence/. `--classes 4 --epochs 1 --results /elsewhere` gives a
first impression.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import statistics
import subprocess
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from ghostclas.bench.machine import describe_machine

RESULTS = Path(__file__).parent / "results"
RECIPE = Path(__file__).with_suffix(".yaml")
FRACTIONS = (100, 20)
TEACHER = (
    *("data.resolution=128", "data.eval_resolution=128", "data.eval_resize=128"),
    *("augment.crop_scale=[0.4,1.0]", "schedule.warmup_epochs=0.2", "schedule.head_epochs=0.2"),
    *("loop.ema=0.99", "loop.compile=true"),
)
PUBLISHED_GAIN = 3.6


@dataclass(frozen=True)
class Plan:
    """The settings of all cells."""

    data: Path
    work: Path
    results: Path
    device: str
    seeds: int
    epochs: float
    finetune: float
    teacher_epochs: dict[int, float]
    classes: int
    precision: str
    settings: tuple[str, ...]

    @property
    def on(self) -> tuple[str, str]:
        device = "cpu" if self.device == "cpu" else "auto"
        return f"loop.device={device}", f"loop.precision={self.precision}"

    @property
    def student(self) -> list[str]:
        return [*self.on, *self.settings]


@dataclass(frozen=True)
class Cell:
    """One run: a percentage of labels, ``ce``, ``ce_steps`` or ``ssld``, and a seed."""

    percent: int
    method: str
    seed: int

    @property
    def name(self) -> str:
        return f"{self.method}-{self.percent}-{self.seed}"


def claim(plan: Plan) -> None:
    """Refuse a --work folder whose cells were made with other settings."""
    asked = {
        "epochs": [plan.epochs, plan.finetune, *plan.teacher_epochs.values()],
        "classes": plan.classes,
        "on": list(plan.on),
        "settings": list(plan.settings),
    }
    file = plan.work / "plan.json"
    if file.exists() and json.loads(file.read_text()) != asked:
        raise SystemExit(f"{plan.work} holds runs with other settings, see {file}: choose another --work")
    plan.work.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(asked, indent=1) + "\n")


def prepare(plan: Plan, percent: int) -> tuple[Path, Path]:
    """Unpack the data with ``percent`` of each class labelled; return it and the pool of the rest."""
    labelled, pool = plan.work / f"labelled-{percent}", plan.work / f"pool-{percent}"
    if (labelled / "complete").exists():
        return labelled, pool
    with zipfile.ZipFile(plan.data) as archive:
        names = [name for name in archive.namelist() if name.count("/") == 2 and not name.endswith("/")]
        classes = sorted({name.split("/")[1] for name in names})[: plan.classes]
        for wnid in classes:
            of_class = [name for name in names if name.split("/")[1] == wnid]
            train = sorted((n for n in of_class if n.startswith("train/")), key=lot)
            kept = set(train[: round(len(train) * percent / 100)])
            for name in of_class:
                home = labelled if name in kept or name.startswith("val/") else pool
                target = home / (name if home == labelled else Path(name).name)
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(archive.read(name))
        rows = csv.reader(io.StringIO(archive.read("classes.csv").decode()))
        text = "".join(f'{wnid},"{name}"\n' for wnid, name in rows if wnid in classes)
        (labelled / "classes.csv").write_text(text)
    (labelled / "complete").write_text("")
    return labelled, pool


def lot(name: str) -> str:
    """Return a hash of an image's name alone, so that every run labels the same images."""
    return hashlib.sha256(name.encode()).hexdigest()


def ghostclas(words: Sequence[str], settings: Sequence[str], output: Path) -> None:
    """Run a training command into ``output``; resume a stopped run, keep a finished one."""
    if (output / "report" / "report.json").exists():
        return
    flags = [word for setting in settings for word in ("--set", setting)]
    resume = ["--resume"] if (output / "config.yaml").exists() else []
    command = [sys.executable, "-m", "ghostclas", *words, *flags, "--output", str(output), *resume]
    subprocess.run(command, check=True, stdout=sys.stderr)


def teacher(plan: Plan, percent: int) -> Path:
    labelled, _ = prepare(plan, percent)
    output = plan.work / f"teacher-{percent}"
    settings = [*TEACHER, *plan.on, f"schedule.epochs={plan.teacher_epochs[percent]}"]
    ghostclas(
        ["ssld", "adapt", "--teacher", "efficientnet_lite0", "--labeled", str(labelled)], settings, output
    )
    return output


def answering(plan: Plan, percent: int) -> list[str]:
    """Return the options that name the teacher: ONNX Runtime on a CPU, torch on a GPU."""
    output = teacher(plan, percent)
    if plan.device != "cpu":
        return ["--teacher", str(output), "--set", "distil.views=0"]
    names = json.loads((output / "bundle" / "manifest.json").read_text())["classes"]
    (output / "classes.txt").write_text("".join(f"{name}\n" for name in names))
    model = output / "bundle" / "model.onnx"
    return ["--teacher", str(model), "--teacher-classes", str(output / "classes.txt")]


def mined(plan: Plan, percent: int) -> Path | None:
    labelled, pool = prepare(plan, percent)
    if not pool.exists():
        return None
    output = plan.work / f"mined-{percent}"
    if not (output / "mined.json").exists():
        words = ["ssld", "mine", "--teacher", str(teacher(plan, percent)), "--labeled", str(labelled)]
        words += ["--unlabeled", str(pool), "--recipe", str(RECIPE), "--output", str(output)]
        words += ["--cache", str(plan.work / f"logits-{percent}")]
        words += [word for setting in plan.student for word in ("--set", setting)]
        subprocess.run([sys.executable, "-m", "ghostclas", *words], check=True, stdout=sys.stderr)
    return output / "mined.json"


def run(plan: Plan, cell: Cell) -> dict[str, object]:
    """Return the result of a cell; run its missing steps."""
    file = plan.work / f"{cell.name}.json"
    if file.exists():
        found: dict[str, object] = json.loads(file.read_text())
        return found
    labelled, _ = prepare(plan, cell.percent)
    output = plan.work / cell.name
    settings = [*plan.student, f"loop.seed={cell.seed}"]
    data = ["--labeled", str(labelled), "--recipe", str(RECIPE)]
    if cell.method == "ssld":
        words = ["ssld", "distil", *answering(plan, cell.percent), *data]
        listed = mined(plan, cell.percent)
        words += ["--mined", str(listed)] if listed else []
        ghostclas(words, [*settings, f"schedule.epochs={plan.epochs}"], output / "distil")
        tuning = [*settings, f"distil.finetune.epochs={plan.finetune}"]
        final = output / "finetune"
        ghostclas(["ssld", "finetune", "--weights", str(output / "distil"), *data], tuning, final)
        runs = [output / "distil", final]
    else:
        epochs = plan.epochs + plan.finetune
        if cell.method == "ce_steps":
            epochs = plan.finetune + plan.epochs * 100 / cell.percent
        plain = [*settings, f"schedule.epochs={epochs}", "distil=null", "loop.label_smoothing=0.1"]
        ghostclas(["train", "--data", str(labelled), "--recipe", str(RECIPE)], plain, output)
        final, runs = output, [output]
    (metric,) = json.loads((final / "bundle" / "manifest.json").read_text())["metrics"]
    logs = [json.loads(line) for folder in runs for line in (folder / "log.jsonl").read_text().splitlines()]
    found = {
        "percent": cell.percent,
        "method": cell.method,
        "seed": cell.seed,
        "top1": metric["top1"],
        "top5": metric["top5"],
        "images": metric["images"],
        "minutes": sum(entry["seconds"] for entry in logs) / 60,
        "epochs": plan.epochs,
        "finetune": plan.finetune,
        "settings": list(plan.settings),
        "device": plan.device,
        "precision": plan.precision,
    }
    file.write_text(json.dumps(found, indent=1) + "\n")
    return found


def table(plan: Plan, cells: Sequence[dict[str, object]]) -> str:
    """Return the results as Markdown: one row for each percentage of labels and method."""
    seeds = range(plan.seeds)
    lines = [
        "# What SSLD is worth on Tiny-ImageNet",
        "",
        f"Student ghostnet_x1_0, recipe `{RECIPE.name}` with {plan.epochs:g} + {plan.finetune:g} epochs, "
        f"teacher EfficientNet-Lite0 adapted with the labels of its row. Top-1 on the {cells[0]['images']} "
        "validation images, of the finished bundle.",
        "",
        "| labelled | method | "
        + " | ".join(f"seed {seed}" for seed in seeds)
        + " | mean | gain | minutes |",
        "| --- | --- |" + " --- |" * (plan.seeds + 3),
    ]
    for percent in FRACTIONS:
        baseline: float | None = None
        for method in ("ce", "ce_steps", "ssld"):
            found = [cell for cell in cells if (cell["percent"], cell["method"]) == (percent, method)]
            if len(found) < plan.seeds:
                continue
            top1 = [float(str(cell["top1"])) for cell in found]
            mean = statistics.fmean(top1)
            baseline = mean if baseline is None else baseline
            values = " | ".join(f"{value:.2f}" for value in top1)
            gain = f"{mean - baseline:+.2f}" if method != "ce" else ""
            minutes = statistics.fmean(float(str(cell["minutes"])) for cell in found)
            lines.append(f"| {percent} % | {method} | {values} | {mean:.2f} | {gain} | {minutes:.0f} |")
    teachers = []
    for percent in FRACTIONS:
        manifest = plan.work / f"teacher-{percent}" / "bundle" / "manifest.json"
        if manifest.exists():
            top1 = json.loads(manifest.read_text())["metrics"][0]["top1"]
            teachers.append(f"{top1:.2f} % with {percent} % of the labels")
    options = "".join(f" --set {setting}" for setting in plan.settings)
    teaching = " ".join(f"{epochs:g}" for epochs in plan.teacher_epochs.values())
    lines += [
        "",
        f"The published gain of the method for GhostNet is {PUBLISHED_GAIN} points, on ImageNet. "
        f"The teachers' top-1: {', '.join(teachers)}. Device: {plan.device}; {describe_machine()}. "
        "Minutes are those of the student's training, without the teacher, mining and stored answers.",
        f"`python benchmarks/ssld_evidence.py tiny-imagenet-200.zip --work DIR --device {plan.device} "
        f"--precision {plan.precision} --epochs {plan.epochs:g} --finetune {plan.finetune:g} "
        f"--seeds {plan.seeds} --teacher-epochs {teaching}{options}` repeats it.",
        "",
    ]
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--work", type=Path, required=True, help="folder for data, runs and checkpoints")
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--device", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--precision", choices=("fp32", "bf16"), default="fp32")
    parser.add_argument("--seeds", type=int, default=2)
    parser.add_argument("--epochs", type=float, default=11)
    parser.add_argument("--finetune", type=float, default=1)
    parser.add_argument(
        "--teacher-epochs", type=float, nargs=2, default=(2, 4), help="with all labels, with a fifth"
    )
    parser.add_argument("--classes", type=int, default=200)
    parser.add_argument("--equal-steps", action="store_true", help="also cross-entropy with SSLD's steps")
    parser.add_argument("--only", help="run this cell alone, such as ssld-20-0")
    parser.add_argument("--set", dest="settings", action="append", default=[])
    arguments = parser.parse_args()
    plan = Plan(
        arguments.data,
        arguments.work,
        arguments.results / "ssld_evidence",
        arguments.device,
        arguments.seeds,
        arguments.epochs,
        arguments.finetune,
        dict(zip(FRACTIONS, arguments.teacher_epochs, strict=True)),
        arguments.classes,
        arguments.precision,
        tuple(arguments.settings),
    )
    extra = [Cell(20, "ce_steps", seed) for seed in range(plan.seeds)] if arguments.equal_steps else []
    cells = [
        Cell(percent, method, seed)
        for seed in range(plan.seeds)
        for percent in FRACTIONS
        for method in ("ce", "ssld")
    ] + extra
    chosen = [cell for cell in cells if arguments.only in (None, cell.name)]
    if not chosen:
        parser.error(f"--only is one of {', '.join(cell.name for cell in cells)}")
    claim(plan)
    results = []
    for cell in chosen:
        results.append(run(plan, cell))
        plan.results.mkdir(parents=True, exist_ok=True)
        (plan.results / f"{cell.name}.json").write_text(json.dumps(results[-1], indent=1) + "\n")
        print(f"{cell.name}: {results[-1]['top1']:.2f} %", file=sys.stderr)
    if arguments.only is None:
        text = table(plan, results)
        print(text)
        (arguments.results / "ssld_evidence.md").write_text(text)


if __name__ == "__main__":
    main()
