"""The C++ engine beside Python: ``ghostclas-infer`` and ``ghostclas predict`` on one bundle and one runtime.

    python benchmarks/cpp.py [--rounds 9] [--photos 2000] [--only cold,folder,many,latency]

Builds ``cpp`` by its preset gcc, prints a table and writes benchmarks/results/cpp.md. The photos are those of
the clothing data set in $GHOSTCLAS_DATA, or ../shared/data without it. Commands of a round are run one after
the other, so that a disturbance affects both, and who goes first alternates from round to round. Every figure
is a median over the rounds. A ratio is the median of the rounds' ratios, with the least and the greatest
of them; it need not be the ratio of the two medians beside it. The limit is the time that ONNX Runtime alone
takes for the same photos, decoded before, on the same cores in the same round. The case ``large`` exports an
untrained network at 224 pixels, which needs the extra 'export'.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import TypeVar

import numpy as np

from ghostclas.bench.machine import describe_machine
from ghostclas.bundle import Bundle, default_bundle_path, pack
from ghostclas.imaging import preprocess
from ghostclas.prediction import Classifier
from ghostclas.processor import usable_cores

ROOT = Path(__file__).parents[1]
RESULT = ROOT / "benchmarks" / "results" / "cpp.md"
PROGRAM = ROOT / "cpp" / "build" / "gcc" / "bin" / "ghostclas-infer"
BATCH = 4
LATENCIES = 50

Measured = TypeVar("Measured")

# A process counts the memory of the one that started it as its own peak: so a small one starts it.
LAUNCHER = """
import json, os, sys, time
start = time.perf_counter()
nowhere = os.open(os.devnull, os.O_RDWR)
streams = [(os.POSIX_SPAWN_DUP2, nowhere, number) for number in (0, 1, 2)]
child = os.posix_spawn(sys.argv[1], sys.argv[1:], os.environ, file_actions=streams)
_, status, usage = os.wait4(child, 0)
print(json.dumps([time.perf_counter() - start, usage.ru_maxrss * 1024, os.waitstatus_to_exitcode(status)]))
"""


@dataclass(frozen=True)
class Run:
    """One run of a command."""

    seconds: float
    peak_bytes: int


@dataclass(frozen=True)
class Row:
    """A line of the table: both figures, their ratio (C++ by Python) in each round, and what bounds it."""

    case: str
    native: str
    python: str
    ratios: Sequence[float]
    wanted: str
    limit: str = ""


def run(command: Sequence[str]) -> Run:
    done = subprocess.run(
        [sys.executable, "-S", "-c", LAUNCHER, *command], capture_output=True, text=True, check=True
    )
    seconds, peak, code = json.loads(done.stdout)
    if code not in (0, 3):
        raise SystemExit(f"{' '.join(command[:3])} ... ended with {code}")
    return Run(seconds, peak)


def native(bundle: Path, *photos: str) -> list[str]:
    return [str(PROGRAM), "--model", str(bundle), *photos]


def python(bundle: Path, *photos: str) -> list[str]:
    command = [sys.executable, "-m", "ghostclas", "predict", "--json", "--engine", "onnxruntime"]
    return [*command, "--model", str(bundle), *photos]


def in_turn(
    number: int, native: Callable[[], Measured], python: Callable[[], Measured]
) -> tuple[Measured, Measured]:
    """Measure both once; C++ goes first in rounds of even numbers, Python in the others."""
    if number % 2:
        theirs = python()
        return native(), theirs
    return native(), python()


def ratios_of(pairs: Sequence[tuple[float, float]]) -> list[float]:
    return [ours / theirs for ours, theirs in pairs]


def median(pairs: Sequence[tuple[float, float]], which: int) -> float:
    return statistics.median(pair[which] for pair in pairs)


def cold(rounds: int, photo: str, work: Path) -> list[Row]:
    """One photo in a new process, from the folder and from the archive of the bundle."""
    archive = pack(Bundle.open(default_bundle_path()), work / "bundle.zip")
    rows = []
    for name, bundle in (("folder", default_bundle_path()), ("zip", archive.resolve())):
        ours, theirs = native(bundle, photo), python(bundle, photo)
        runs = [in_turn(number, partial(run, ours), partial(run, theirs)) for number in range(rounds)]
        pairs = [(one.seconds, other.seconds) for one, other in runs]
        rows.append(
            Row(
                f"one photo, cold, bundle in a {name}",
                f"{1000 * median(pairs, 0):.0f} ms",
                f"{1000 * median(pairs, 1):.0f} ms",
                ratios_of(pairs),
                "<= 0.35",
            )
        )
    return rows


def folder(rounds: int, photos: Path, bundle: Path) -> list[Row]:
    """The photos of a folder as a whole command: time and peak memory."""
    files = sorted(photos.rglob("*.jpg"))
    ours, theirs = native(bundle, str(photos)), python(bundle, str(photos))
    runs = [in_turn(number, partial(run, ours), partial(run, theirs)) for number in range(rounds)]
    times = [(one.seconds, other.seconds) for one, other in runs]
    memory = [(one.peak_bytes, other.peak_bytes) for one, other in runs]
    count = f"{len(files)} photos, whole command"
    return [
        Row(count, f"{median(times, 0):.2f} s", f"{median(times, 1):.2f} s", ratios_of(times), "<= 0.625"),
        Row(
            f"{len(files)} photos, peak memory",
            f"{median(memory, 0) / 1e6:.0f} MB",
            f"{median(memory, 1) / 1e6:.0f} MB",
            ratios_of(memory),
            "<= 0.68",
        ),
    ]


def many(rounds: int, files: Sequence[str], bundle: Path, work: Path, wanted: str) -> list[Row]:
    """Many photos, without the start of the process: what each takes, and what inference alone takes."""
    folder = work / f"many {Path(bundle).name}"
    folder.mkdir()
    for number, file in enumerate(files):
        (folder / f"{number:05}.jpg").symlink_to(file)
    classifier = Classifier.load(bundle, engine="onnxruntime")
    spec = classifier.preprocess
    decoded = np.stack([preprocess(file, spec) for file in files[:512]])

    def each(command: Callable[..., list[str]]) -> float:
        one = run(command(bundle, files[0])).seconds
        return (run(command(bundle, str(folder))).seconds - one) / (len(files) - 1)

    pairs, limits = [], []
    for number in range(rounds):
        pairs.append(in_turn(number, partial(each, native), partial(each, python)))
        limits.append(inference_seconds(classifier, decoded) / pairs[-1][0])
    return [
        Row(
            f"{len(files)} photos at {spec.crop} px, each",
            f"{1000 * median(pairs, 0):.2f} ms",
            f"{1000 * median(pairs, 1):.2f} ms",
            ratios_of(pairs),
            wanted,
            f"inference alone is {statistics.median(limits):.0%} of the C++ time",
        )
    ]


def inference_seconds(classifier: Classifier, images: np.ndarray) -> float:
    """Return what the network alone takes for a photo, on all cores, in the batches of ``predict``."""
    batches = [images[at : at + BATCH] for at in range(0, len(images), BATCH)]
    with ThreadPoolExecutor(usable_cores()) as pool:
        list(pool.map(classifier.engine.run, batches[:BATCH]))
        start = time.perf_counter()
        list(pool.map(classifier.engine.run, batches))
        return (time.perf_counter() - start) / len(images)


def latency(rounds: int, files: Sequence[str], bundle: Path) -> list[Row]:
    """One photo at a time in a process that runs: file to answer."""
    few = list(files[:LATENCIES])
    classifier = Classifier.load(bundle, engine="onnxruntime")
    command = [str(PROGRAM), "--model", str(bundle), "--bench", *few]

    def ours() -> float:
        said = subprocess.run(command, capture_output=True, text=True, check=True).stdout
        return float(said.partition("p50 ")[2].partition(" ms")[0])

    def theirs() -> float:
        times = []
        for file in few:
            start = time.perf_counter()
            classifier.predict(file)
            times.append(1000 * (time.perf_counter() - start))
        return statistics.median(times)

    pairs = [in_turn(number, ours, theirs) for number in range(rounds)]
    return [
        Row(
            "one photo in a running process, p50",
            f"{median(pairs, 0):.2f} ms",
            f"{median(pairs, 1):.2f} ms",
            ratios_of(pairs),
            "<= 1.02",
        )
    ]


def at_224(work: Path) -> Path:
    """Export an untrained network at 224 pixels, and return its bundle."""
    import torch

    from ghostclas.exporting.onnx import export_bundle
    from ghostclas.models.registry import create_model
    from ghostclas.spec import ModelSpec, PreprocessSpec

    torch.manual_seed(0)
    spec = ModelSpec(name="ghostnet_x1_0", num_classes=1000)
    classes = [f"class {number}" for number in range(spec.num_classes)]
    target = work / "ghostnet_224"
    export_bundle(create_model(spec).eval(), spec, classes, PreprocessSpec(), target)
    return target


def spread(ratios: Sequence[float]) -> str:
    return f"{statistics.median(ratios):.2f} ({min(ratios):.2f} to {max(ratios):.2f})"


def table(rows: Sequence[Row]) -> str:
    lines = [
        "| case | C++ | Python | C++ by Python | wanted | limit |",
        "| --- | ---: | ---: | ---: | --- | --- |",
    ]
    lines += [
        f"| {row.case} | {row.native} | {row.python} | {spread(row.ratios)} | {row.wanted} | {row.limit} |"
        for row in rows
    ]
    return "\n".join(lines)


def build() -> None:
    """Compile the program."""
    for command in (["--preset", "gcc"], ["--build", "--preset", "gcc", "--target", "ghostclas-infer"]):
        subprocess.run(["cmake", *command], cwd=ROOT / "cpp", check=True, stdout=subprocess.DEVNULL)


def main() -> None:
    """Measure, print the table and write the page."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=9)
    parser.add_argument("--photos", type=int, default=2000, help="of the cases many and large")
    parser.add_argument("--only", default="cold,folder,many,large,latency")
    parser.add_argument("--output", type=Path, default=RESULT)
    arguments = parser.parse_args()
    data = Path(os.environ.get("GHOSTCLAS_DATA") or ROOT.parent / "shared" / "data") / "clothing"
    files = sorted(map(str, data.resolve().glob("*/*/*.jpg")))[: arguments.photos]
    if not files:
        raise SystemExit("no photos: set GHOSTCLAS_DATA to the folder that holds clothing/")
    build()
    runtime = find_spec("onnxruntime")
    assert runtime is not None
    assert runtime.submodule_search_locations
    os.environ["GHOSTCLAS_ONNXRUNTIME"] = str(Path(runtime.submodule_search_locations[0]) / "capi")
    default = default_bundle_path()
    rounds = arguments.rounds
    with tempfile.TemporaryDirectory() as folder_name:
        work = Path(folder_name)
        cases: dict[str, Callable[[], list[Row]]] = {
            "cold": lambda: cold(rounds, files[0], work),
            "folder": lambda: folder(rounds, data.resolve() / "val", default),
            "many": lambda: many(rounds, files, default, work, "<= 0.80"),
            "large": lambda: many(rounds, files, at_224(work), work, "<= 0.91"),
            "latency": lambda: latency(rounds, files, default),
        }
        rows = [row for name in arguments.only.split(",") for row in cases[name]()]
    machine = describe_machine()
    import onnxruntime

    page = [
        "# The C++ engine beside Python",
        "",
        f"`python benchmarks/cpp.py --rounds {rounds} --photos {len(files)}`: {machine.cpu}, {machine.cores} "
        f"cores, ONNX Runtime {onnxruntime.__version__} on both sides, load {machine.load} at the end. "
        f"Medians of {rounds} interleaved rounds, in which either goes first by turns. C++ by Python is the "
        "median of the rounds' ratios, with the least and the greatest of them.",
        "",
        table(rows),
        "",
    ]
    arguments.output.write_text("\n".join(page), encoding="utf-8")
    print("\n".join(page))


if __name__ == "__main__":
    main()
