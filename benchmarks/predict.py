"""Prediction in ghostclas and its peers, interleaved: the same images on the same two cores.

    python benchmarks/predict.py [--rounds 9] [--only latency,photos,large,cold,memory]

Writes results/predict.md. The photos are made at run time from the clothing data set in $GHOSTCLAS_DATA, or
../shared/data without it. Every contestant is a process of its own that waits while another is measured. A
round measures each once, so that a disturbance affects all. ghostclas runs twice, as if it were two: if its
two figures differ, the machine is too noisy, and the page says so.

Peers that are not installed are named as absent. Their environments:

    ./check                                                 .venv with timm and OpenVINO, .venvs/paddle
    python3 -m venv .venvs/ultralytics
    .venvs/ultralytics/bin/pip install ultralytics
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from PIL import Image
from predict_side import WIDTHS, bundle_of

from ghostclas.bench.fresh import run_fresh
from ghostclas.bench.machine import describe_machine
from ghostclas.bench.noise import judge, warning
from ghostclas.bench.statistics import Spread, spread
from ghostclas.engines.choice import supports_precision
from ghostclas.exporting.variants import make_variant
from ghostclas.imaging import preprocess
from ghostclas.prediction.classifier import BATCH_SIZE, BATCH_SIZE_IN_BF16, Classifier
from ghostclas.spec import PreprocessSpec
from ghostclas.timing import seconds

HERE = Path(__file__).parent
CORES = 2
BF16 = "ghostclas_bf16"
OURS = "ghostclas_openvino"
BASE = "ghostclas_onnxruntime"
TWIN = "ghostclas_twin"

NAMES = {
    BF16: "ghostclas, OpenVINO in bf16",
    OURS: "ghostclas, OpenVINO",
    BASE: "ghostclas, ONNX Runtime (base install)",
    TWIN: "the same again",
    "onnxruntime_loop": "plain ONNX Runtime",
    "openvino_loop": "plain OpenVINO",
    "timm_eager": "timm, eager, channels_last",
    "timm_compiled": "timm, torch.compile, channels_last",
    "paddle": "PaddleClas' network, Paddle Inference, oneDNN",
    "paddle_plain": "PaddleClas' network, Paddle Inference without oneDNN",
    "ultralytics": "Ultralytics `classify predict`, yolo11n-cls",
}
MODULES = {
    BF16: "openvino",
    OURS: "openvino",
    "openvino_loop": "openvino",
    "timm_eager": "timm",
    "timm_compiled": "timm",
    "paddle": "paddle",
    "paddle_plain": "paddle",
    "ultralytics": "ultralytics",
}
FOLDER_BATCHES = {
    BF16: (BATCH_SIZE_IN_BF16,),
    OURS: (BATCH_SIZE,),
    BASE: (BATCH_SIZE,),
    "onnxruntime_loop": (4, 8),
    "openvino_loop": (4, 8),
    "timm_eager": (4, 8),
    "paddle": (1, 8, 32),
    "paddle_plain": (1, 8, 32),
    "ultralytics": (1, 8),
}
"""Ours in its own batches, the peers in several."""
Contestant: TypeAlias = tuple[str, int]
"""A name and a number of threads."""

SECTIONS = ("latency", "photos", "large", "cold", "memory")


class Side:
    """One contestant's process."""

    def __init__(self, name: str, python: str, work: Path, threads: int, width: str) -> None:
        self.name = name
        script = BASE if name == TWIN else name
        self.process = subprocess.Popen(
            [python, str(HERE / "predict_side.py"), script, str(work), str(threads), width],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads)},
        )
        self._read()

    def ask(self, *job: object) -> Any:
        assert self.process.stdin
        self.process.stdin.write(json.dumps(job) + "\n")
        self.process.stdin.flush()
        return self._read()

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _read(self) -> Any:
        assert self.process.stdout
        for line in self.process.stdout:
            if line.startswith("@"):
                return json.loads(line[1:])
        raise SystemExit(f"{self.name} stopped: run predict_side.py by hand to see why")


class Benchmark:
    """The state that all sections share: paths, contestants and rounds."""

    def __init__(self, work: Path, arguments: argparse.Namespace) -> None:
        self.work, self.rounds, self.count = work, arguments.rounds, arguments.photos
        self.memory_files = arguments.memory_files
        self.pythons = dict.fromkeys(NAMES, sys.executable)
        self.pythons["paddle"] = self.pythons["paddle_plain"] = arguments.paddle
        self.pythons["ultralytics"] = arguments.ultralytics
        self.present = [name for name in NAMES if self._is_installed(name)]
        if BF16 in self.present and not supports_precision("openvino", "bf16"):
            self.present.remove(BF16)
        self.ours = [name for name in (BF16, OURS, BASE) if name in self.present]
        self.source = photos_of(arguments.data)
        self.notes: list[str] = []

    def prepare(self) -> None:
        """Write every model and the photos once."""
        for width in WIDTHS:
            say(f"exporting ghostnet_{width}")
            make_variant(f"ghostnet_{width}", bundle_of(self.work, width))
        for name in ("paddle", "ultralytics"):
            if name in self.present:
                say(f"preparing {name}")
                for width in WIDTHS if name == "paddle" else ("x1_0",):
                    self._run(name, "prepare", width)
        self.folder = self.work / "photos"
        self.folder.mkdir()
        for number in range(self.count):
            shutil.copyfile(self.source[number % len(self.source)], self.folder / f"{number:05}.jpg")

    def compete(
        self,
        contestants: Sequence[Contestant],
        width: str,
        jobs: Callable[[Contestant], Sequence[Sequence[object]]],
    ) -> dict[tuple[Contestant, str], list[Any]]:
        """Give every side its jobs, interleaved round by round; return the answers by side and job."""
        sides = [Side(name, self.pythons[name], self.work, threads, width) for name, threads in contestants]
        turns = [*zip(contestants, sides, strict=True)]
        answers: dict[tuple[Contestant, str], list[Any]] = {}
        try:
            for number in range(-1, self.rounds):
                for contestant, side in turns if number % 2 else reversed(turns):
                    for job in jobs(contestant):
                        answer = side.ask(*job)
                        if number >= 0:
                            answers.setdefault((contestant, json.dumps(job)), []).append(answer)
                say(f"  {width}: round {number + 1} of {self.rounds}")
        finally:
            for side in sides:
                side.close()
        return answers

    def _is_installed(self, name: str) -> bool:
        code = f"import importlib.util as u, sys; sys.exit(not u.find_spec({MODULES.get(name, 'numpy')!r}))"
        python = self.pythons[name]
        return shutil.which(python) is not None and not subprocess.run([python, "-c", code]).returncode

    def _run(self, name: str, *words: str) -> None:
        command = [self.pythons[name], str(HERE / "predict_side.py"), name, str(self.work), *words]
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode:
            raise SystemExit(f"{name} {words[0]}: {done.stderr[-2000:]}")


def latency(b: Benchmark) -> list[str]:
    """One photo through the network."""
    names = [name for name in b.present if name != "ultralytics"]
    medians: dict[tuple[str, str, int], list[float]] = {}
    pairs: list[tuple[Spread, Spread]] = []
    for width in WIDTHS:
        for threads in (1, CORES):
            sides = [(name, threads) for name in names]
            answers = b.compete(sides, width, lambda side: [("pixels", 1, 20)])
            found = {name: rounds for ((name, _), _), rounds in answers.items()}
            for name, rounds in found.items():
                medians[name, width, threads] = [statistics.median(times) for times in rounds]
            pooled = {name: spread([t for times in found[name] for t in times]) for name in (BASE, TWIN)}
            pairs.append((pooled[BASE], pooled[TWIN]))
    noise = judge(BASE, pairs)
    columns = [(width, threads) for width in WIDTHS for threads in (1, CORES)]
    rows = []
    for name in names:
        cells = []
        for column in columns:
            own = medians[name, *column]
            best = min((medians[one, *column] for one in b.ours), key=statistics.median)
            ratio = statistics.median(mine / first for mine, first in zip(own, best, strict=True))
            cells.append(f"{statistics.median(own):.2f} ({ratio:.2f})")
        rows.append([NAMES[name], *cells])
    header = ["ms (ratio)", *(f"{width.replace('_', '.')}, {t}" for width, t in columns)]
    lines = table(header, rows)
    lines += [
        "",
        "Normalised pixels to logits for the peers, photos' pixels to logits for ours; columns are width and "
        "threads, brackets the median ratio to the fastest of ours in the same round.",
    ]
    said = warning(noise)
    lines += ["", f"**Warning: {said}.**"] if said else []
    return lines


def photos(b: Benchmark) -> list[str]:
    """A folder of photos from the disk, and the limit of this machine, measured in the same rounds."""
    folder = str(b.folder)
    whole = [(name, CORES) for name in b.present if name not in (TWIN, "timm_compiled")]
    # The time of one core for each half of the work, by itself.
    alone = [
        (name, 1) for name in b.present if name in (BF16, OURS, BASE, "onnxruntime_loop", "openvino_loop")
    ]

    def jobs(side: Contestant) -> Sequence[Sequence[object]]:
        name, threads = side
        if threads == CORES:
            return [("files", folder, batch) for batch in FOLDER_BATCHES[name]]
        decoding = [(kind, folder, 200) for kind in ("decode", "draft")] if name == BASE else []
        return [*decoding, *(("pixels", batch, 10) for batch in (1, 4, 8))]

    answers = b.compete([*whole, *alone], "x1_0", jobs)
    rates: dict[tuple[str, int], list[float]] = {}
    decoding: list[float] = []
    inference: list[float] = []
    for ((name, _), job), taken in answers.items():
        kind, first, second = json.loads(job)
        if kind == "files":
            rates[name, int(second)] = [b.count / value for value in taken]
        elif kind == "pixels":
            inference.append(statistics.median(t for times in taken for t in times) / first)
        else:
            decoding.append(1000 * statistics.median(taken) / second)
    limit = CORES * 1000 / (min(decoding) + min(inference))
    own = {name: rates[name, FOLDER_BATCHES[name][0]] for name in b.ours}
    fastest = max(b.ours, key=lambda name: statistics.median(own[name]))
    compared = list(dict.fromkeys((fastest, BASE)))
    rows = []
    for (name, batch), rate in rates.items():
        median = statistics.median(rate)
        ratios = (
            statistics.median(mine / theirs for mine, theirs in zip(ours, rate, strict=True))
            for ours in (own[name] for name in compared)
        )
        cells = [f"{median:.0f} ({min(rate):.0f} to {max(rate):.0f})", *(f"{ratio:.2f}" for ratio in ratios)]
        rows.append([NAMES[name], str(batch), *cells, f"{median / limit:.0%}"])
    faster = [f"{NAMES[name]} is faster by" for name in compared]
    return [
        *table(["", "batch", "photos/s", *faster, "of the limit"], rows),
        "",
        f"{b.count:,} photos, {CORES} cores, GhostNet x1.0. The limit is {limit:.0f} a second: {CORES} cores "
        f"over {min(decoding):.2f} ms for the fastest decoding and {min(inference):.2f} ms for the fastest "
        "inference of a photo, both on one core, in the same rounds.",
    ]


def large(b: Benchmark) -> list[str]:
    """12-megapixel photos, without and with the grain of a sensor."""
    rows = []
    for kind, grain in (("smooth", 0), ("grainy", 6)):
        files = _enlarged(b, kind, grain)
        size = statistics.mean(file.stat().st_size for file in files) / 1e6
        for what, model in (
            ("built-in model", "default"),
            ("x1.0, random weights", bundle_of(b.work, "x1_0")),
        ):
            with Classifier.load(model, threads=1) as classifier:
                spec = classifier.preprocess
                ratios, same, scaled_ms, whole_ms = [], 0, [], []
                for file in files:
                    whole_ms.append(1000 * seconds(partial(_preprocess_whole, file, spec)))
                    scaled_ms.append(1000 * seconds(partial(preprocess, file, spec)))
                    ratios.append(whole_ms[-1] / scaled_ms[-1])
                    scaled, whole = (classifier.predict(source)[0].top[0] for source in (file, _whole(file)))
                    same += scaled.index == whole.index
            medians = [f"{statistics.median(values):.1f}" for values in (scaled_ms, whole_ms)]
            cells = [f"{statistics.median(ratios):.2f}", f"{same} of {len(files)}"]
            rows.append([f"{kind}, {size:.1f} MB; {what}, {spec.crop} px", *medians, *cells])
    header = ["", "ours, ms", "full decode, ms", "ours is faster by", "same top-1"]
    return [
        *table(header, rows),
        "",
        "From the file to the network's input, 4000 x 3000 JPEGs, one core. Photos of clothing, enlarged; "
        "noise of 6 of 255 makes the grain. Reading the compressed numbers is the same work in both, and the "
        "larger the file, the larger its part.",
    ]


def _enlarged(b: Benchmark, kind: str, grain: float) -> list[Path]:
    folder = b.work / kind
    folder.mkdir()
    files = []
    for number, small in enumerate(b.source[:20]):
        pixels = np.asarray(Image.open(small).convert("RGB").resize((4000, 3000), Image.Resampling.BICUBIC))
        noise = np.random.default_rng(number).normal(0, grain, (3000, 4000, 1))
        files.append(folder / f"{number}.jpg")
        Image.fromarray((pixels + noise).clip(0, 255).astype(np.uint8)).save(files[-1], quality=92)
    return files


def _whole(file: Path) -> Image.Image:
    image = Image.open(file)
    image.load()
    return image


def _preprocess_whole(file: Path, spec: PreprocessSpec) -> None:
    preprocess(_whole(file), spec)


def cold(b: Benchmark) -> list[str]:
    """One photo, from the start of a process to its end."""
    photo = b.source[0]
    model = str(bundle_of(b.work, "x1_0"))
    commands: dict[str, list[str]] = {"ghostclas predict PHOTO, built-in model": ours("predict", str(photo))}
    for name, engine in ((BASE, "onnxruntime"), (OURS, "openvino")):
        if name in b.present:
            words = ("predict", str(photo), "--model", model, "--engine", engine)
            commands[f"ghostclas predict PHOTO, x1.0, {engine}"] = ours(*words)
    for name in ("onnxruntime_loop", "openvino_loop", "timm_eager", "paddle", "ultralytics"):
        if name in b.present:
            side = [str(HERE / "predict_side.py"), name, str(b.work), "cold", str(photo)]
            commands[NAMES[name]] = [b.pythons[name], *side]
    cached = starts(commands, b.rounds, "files in the system's cache")
    titles, columns, note = ["", "seconds", "times the first"], [cached], "Files are in the system's cache"
    if forget_files():
        columns.append(starts(commands, b.rounds, "files on the disk", before=forget_files))
        titles += ["seconds, from the disk", "times the first"]
        note += "; from the disk they come when it was emptied before each start, as after booting"
    rows = [[name, *(cell for taken in columns for cell in compared(taken, name))] for name in commands]
    return [*table(titles, rows), "", f"{note}."]


def starts(
    commands: Mapping[str, list[str]], rounds: int, what: str, before: Callable[[], object] = lambda: None
) -> dict[str, list[float]]:
    """Return the seconds of each command from start to end, interleaved."""
    taken: dict[str, list[float]] = {name: [] for name in commands}
    for number in range(-1, rounds):
        for name, command in commands.items():
            before()
            began = time.perf_counter()
            subprocess.run(command, check=True, capture_output=True)
            if number >= 0:
                taken[name].append(time.perf_counter() - began)
        say(f"  cold start, {what}: round {number + 1} of {rounds}")
    return taken


def compared(taken: Mapping[str, list[float]], name: str) -> tuple[str, str]:
    """Return the median of a command's times with its range, and its ratio to the first command's."""
    first, values = next(iter(taken.values())), taken[name]
    ratio = statistics.median(theirs / mine for mine, theirs in zip(first, values, strict=True))
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})", f"{ratio:.1f}"


def forget_files() -> bool:
    """Empty the system's file cache, if that is allowed."""
    try:
        os.sync()
        Path("/proc/sys/vm/drop_caches").write_text("3")
    except OSError:
        return False
    return True


def ours(*words: str) -> list[str]:
    return [sys.executable, "-m", "ghostclas", *words]


def memory(b: Benchmark) -> list[str]:
    """Peak memory of a small and of a large folder."""
    few, many = b.count, b.memory_files
    folder = b.work / "many"
    for number in range(many):
        link = folder / f"{number // 1000:04}" / f"{number:06}.jpg"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.hardlink_to(b.folder / f"{number % few:05}.jpg")
    rows = []
    for name, engine in ((BASE, "onnxruntime"), (OURS, "openvino")):
        if name in b.present:
            peaks = []
            for where in (b.folder, folder):
                say(f"  memory: {engine}, {where.name}")
                fresh = run_fresh(bundle_of(b.work, "x1_0"), engine, "fp32", b.source[0], where)
                peaks.append((fresh.peak_memory or 0) / 1e6)
            rows.append([NAMES[name], *(f"{peak:.0f}" for peak in peaks), f"{peaks[1] - peaks[0]:+.0f}"])
    header = ["peak memory, MB", f"{few:,} photos", f"{many:,} photos (links)", "difference"]
    return table(header, rows)


TITLES: Mapping[str, tuple[str, Callable[[Benchmark], list[str]]]] = {
    "latency": ("One photo through the network", latency),
    "photos": ("A folder of photos, from the disk to labels", photos),
    "large": ("12-megapixel photos", large),
    "cold": ("One photo from a cold start", cold),
    "memory": ("Memory", memory),
}


def photos_of(data: str | None) -> list[Path]:
    root = Path(data or os.environ.get("GHOSTCLAS_DATA") or HERE.parent.parent / "shared" / "data")
    found = sorted((root / "clothing").rglob("*.jpg"))
    if not found:
        raise SystemExit("no photos: set GHOSTCLAS_DATA to the folder that holds clothing/")
    return found


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    return ["| " + " | ".join(row) + " |" for row in (header, ["---"] * len(header), *rows)]


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def versions(b: Benchmark) -> str:
    found = [f"{name} {version}" for name, version in describe_machine().packages.items()]
    for name, package in (("timm_eager", "timm"), ("paddle", "paddlepaddle"), ("ultralytics", "ultralytics")):
        if name in b.present:
            code = f"import importlib.metadata as m; print(m.version({package!r}))"
            done = subprocess.run([b.pythons[name], "-c", code], capture_output=True, text=True)
            found.append(f"{package} {done.stdout.strip()}")
    return ", ".join(found)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--photos", type=int, default=1000)
    parser.add_argument("--memory-files", type=int, default=100_000)
    parser.add_argument("--data", help="the folder that holds clothing/; $GHOSTCLAS_DATA when absent")
    parser.add_argument("--paddle", default=".venvs/paddle/bin/python")
    parser.add_argument("--ultralytics", default=".venvs/ultralytics/bin/python")
    parser.add_argument("--only", default=",".join(SECTIONS), help="sections, separated by commas")
    parser.add_argument("--output", type=Path, default=HERE / "results" / "predict.md")
    arguments = parser.parse_args()
    chosen = arguments.only.split(",")
    if unknown := set(chosen) - set(SECTIONS):
        parser.error(f"there is no section {', '.join(sorted(unknown))}")
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:CORES])
    with tempfile.TemporaryDirectory(prefix="ghostclas-") as folder:
        b = Benchmark(Path(folder), arguments)
        absent = [NAMES[name] for name in NAMES if name not in b.present]
        say(f"absent: {', '.join(absent) or 'nobody'}")
        b.prepare()
        lines = [
            "# From photos to labels",
            "",
            f"{describe_machine()}; {CORES} cores used. {versions(b)}.",
            f"Medians of {b.rounds} interleaved rounds.",
            "",
            f"Absent: {', '.join(absent) or 'nobody'}.",
        ]
        for name in SECTIONS:
            if name in chosen:
                title, section = TITLES[name]
                say(title)
                lines += ["", f"## {title}", "", *section(b)]
    only = "" if arguments.only == ",".join(SECTIONS) else f" --only {arguments.only}"
    name = arguments.output.name
    output = "" if name == "predict.md" else f" --output benchmarks/results/{name}"
    lines += ["", f"`python benchmarks/predict.py --rounds {b.rounds}{only}{output}` repeats it.", ""]
    arguments.output.parent.mkdir(parents=True, exist_ok=True)
    arguments.output.write_text("\n".join(lines), encoding="utf-8")
    print("\n".join(lines))


if __name__ == "__main__":
    main()
