"""Size, parity, accuracy and latency of the built-in model in every format, for docs/export.md.

    python benchmarks/export_table.py ../shared/data/tiny-imagenet-200.zip [--rounds 30] [--formats onnx,...]

Exports to a bundle and checks every file in every engine, on the reference and on validation images. Times
one photo with one and with two threads; a round times every file and engine once, so that a disturbance
affects all of them. ``--bundle DIR`` keeps the files, and exports only those that are not there.
``--images N`` takes so many validation images, evenly spread. ``--rounds 0`` times nothing and ``--images 0``
measures no accuracy, for a machine with other work.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from documents import fill, machine, table
from numpy.typing import NDArray

from ghostclas import imaging
from ghostclas.bundle import Bundle, BundleFile, copy_bundle, default_bundle_path
from ghostclas.data import open_source
from ghostclas.engines import ENGINES, installed_engines
from ghostclas.engines.choice import load_file
from ghostclas.errors import GhostclasError
from ghostclas.exporting.additions import add_format
from ghostclas.exporting.formats import FORMATS
from ghostclas.exporting.quantize import Policy, measure_top1, quantize

PACKAGES = {
    "mnn": "MNN",
    "litert": "ai-edge-litert",
    "inductor": "torch",
    "paddle": "paddlepaddle",
}
THREADS = (1, 2)
REST_SECONDS, WARMUP = 0.05, 3


class Pair(NamedTuple):
    """A file of the bundle and an engine that runs it."""

    engine: str
    file: BundleFile


def exported(folder: Path, formats: Sequence[str], data: str) -> Bundle:
    """Return a copy of the built-in model with all files that this machine can make."""
    there = (folder / "manifest.json").is_file()
    bundle = Bundle.open(folder) if there else copy_bundle(Bundle.open(default_bundle_path()), folder)
    for name in formats:
        for precision in FORMATS[name].precisions:
            files = {(entry.format, entry.precision) for entry in bundle.manifest.files}
            if (name, precision) in files:
                continue
            if precision == "int8":
                print(f"quantizing {name}", file=sys.stderr)
                bundle, _ = quantize(
                    bundle,
                    name,
                    calibration=open_source(data, "train"),
                    validation=open_source(data, "val"),
                    policy=Policy(smaller=True),
                    say=lambda line: print(f"  {line}", file=sys.stderr),
                )
            else:
                print(f"exporting {name} {precision}", file=sys.stderr)
                try:
                    bundle = add_format(bundle, name, precision=precision)
                except GhostclasError as error:
                    print(f"left out: {error}", file=sys.stderr)
    return bundle


def validation(bundle: Bundle, data: str, count: int | None) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """Return ``count`` evenly spread validation images, or all, and their labels."""
    source = open_source(data)
    total = len(source.samples)
    chosen = np.linspace(0, total - 1, total if count is None else min(count, total)).round().astype(int)
    print(f"decoding {len(chosen)} images", file=sys.stderr)
    pixels = np.stack([imaging.preprocess(source.read(i), bundle.preprocess) for i in chosen])
    return pixels, np.array([source.samples[i].label for i in chosen])


def latencies(pairs: Sequence[Pair], pixels: NDArray[np.uint8], rounds: int, threads: int) -> list[float]:
    """Return the median milliseconds of one photo for each pair, all of them timed in turn."""
    engines = [load_file(pair.engine, pair.file, threads=threads) for pair in pairs]
    times: list[list[float]] = [[] for _ in pairs]
    for number in range(rounds + WARMUP):
        photo = pixels[number % len(pixels)][None]
        for pair, engine, found in zip(pairs, engines, times, strict=True):
            if pair.engine in ("torch", "inductor"):
                import torch

                torch.set_num_threads(threads)
            # The threads of the previous engine may still spin for a while.
            time.sleep(REST_SECONDS)
            for _ in range(WARMUP):
                engine.run(photo)
            began = time.perf_counter()
            engine.run(photo)
            if number >= WARMUP:
                found.append(1000 * (time.perf_counter() - began))
    for engine in engines:
        engine.close()
    return [statistics.median(found) for found in times]


def megabytes(bundle: Bundle, form: str, precision: str) -> str:
    """Return the size of the files of a format and precision."""
    files = [entry for entry in bundle.manifest.files if (entry.format, entry.precision) == (form, precision)]
    return f"{sum(entry.bytes for entry in files) / 1e6:.1f}"


def rows(
    bundle: Bundle, pairs: Sequence[Pair], top1: Sequence[float], times: Sequence[Sequence[float]]
) -> list[list[str]]:
    """Return the rows of the table: files that an engine here runs, then those that none does."""
    parity = {
        (result.file, result.engine): result for result in bundle.manifest.parity if result.arithmetic is None
    }
    found = []
    for place, pair in enumerate(pairs):
        entry = pair.file.entry
        result = parity.get((entry.path, pair.engine))
        compared = [f"{result.max_abs:.1e}", f"{result.top1_agreement:.0%}"] if result else ["", ""]
        accuracy = [f"{top1[place]:.1f}"] if top1 else []
        medians = [f"{column[place]:.2f}" for column in times]
        size = megabytes(bundle, entry.format, entry.precision)
        found.append([entry.format, entry.precision, size, pair.engine, *compared, *accuracy, *medians])
    run = {(pair.file.entry.format, pair.file.entry.precision) for pair in pairs}
    others = {
        (entry.format, entry.precision): None for entry in bundle.manifest.files if entry.format in FORMATS
    }
    for form, precision in others:
        if (form, precision) not in run:
            size = megabytes(bundle, form, precision)
            empty = [""] * (2 + bool(top1) + len(times))
            found.append([form, precision, size, "none here", *empty])
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--formats", default=",".join(FORMATS))
    parser.add_argument("--bundle", type=Path)
    parser.add_argument("--images", type=int)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        kept = arguments.bundle or Path(folder) / "bundle"
        bundle = exported(kept, arguments.formats.split(","), arguments.data)
        pairs = [
            Pair(name, BundleFile(bundle, entry))
            for entry in bundle.manifest.files
            for name in installed_engines()
            if entry.input is not None and entry.format in ENGINES[name].formats
        ]
        top1: list[float] = []
        count = 1 if arguments.images == 0 else arguments.images
        pixels, labels = validation(bundle, arguments.data, count)
        for pair in pairs if arguments.images != 0 else ():
            top1.append(measure_top1(pair.engine, pair.file, pixels, labels))
            print(f"{pair.file.entry.path} in {pair.engine}: {top1[-1]:.2f} %", file=sys.stderr)
        threads = THREADS if arguments.rounds else ()
        times = [latencies(pairs, pixels, arguments.rounds, count) for count in threads]
        lines = rows(bundle, pairs, top1, times)
    packages = list(dict.fromkeys(PACKAGES.get(name, name) for name in installed_engines()))
    timed = (
        f", latency that of one photo, the median of {arguments.rounds} interleaved rounds" if times else ""
    )
    crop = bundle.preprocess.crop
    judged = f", top-1 is on {len(labels):,} validation images of Tiny-ImageNet" if top1 else ""
    note = (
        f"The built-in model at {crop} x {crop}. Differences from the training framework are on the "
        f"reference images{judged}{timed}. {machine(packages)}"
    )
    latency = "".join(f"|ms, {count} thread{'s' * (count > 1)}" for count in threads)
    header = f"format|precision|MB|engine|max difference|same class{'|top-1 %' * bool(top1)}{latency}"
    fill("export.md", "table", [*table(header, lines), "", note])


if __name__ == "__main__":
    main()
