"""Size, parity, accuracy and latency of the built-in model in every format, for docs/export.md.

    python benchmarks/export_table.py ../shared/data/tiny-imagenet-200.zip [--rounds 30] [--formats onnx,...]

Exports to a temporary bundle and checks every file in every engine, on the reference and on all validation
images. Times one photo with one and with two threads; a round times every file and engine once, so that a
disturbance affects all of them.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from documents import fill, machine, table

from ghostclas import imaging
from ghostclas.bundle import Bundle, BundleFile, copy_bundle, default_bundle_path
from ghostclas.data import open_source
from ghostclas.engines import ENGINES, installed_engines
from ghostclas.engines.choice import load_file
from ghostclas.exporting.additions import add_format
from ghostclas.exporting.formats import FORMATS
from ghostclas.exporting.quantize import Policy, measure_top1, quantize

PACKAGES = {"mnn": "MNN", "litert": "ai-edge-litert", "inductor": "torch"}
THREADS = (1, 2)
REST_SECONDS, WARMUP = 0.05, 3


def exported(folder: Path, formats: list[str], data: str) -> Bundle:
    """Return a copy of the built-in model with all files that this machine can make."""
    bundle = copy_bundle(Bundle.open(default_bundle_path()), folder)
    for name in formats:
        for precision in FORMATS[name].precisions:
            default = bundle.file().entry
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
            elif (name, precision) != (default.format, default.precision):
                print(f"exporting {name} {precision}", file=sys.stderr)
                bundle = add_format(bundle, name, precision=precision)
    return bundle


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data")
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--formats", default=",".join(FORMATS))
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        bundle = exported(Path(folder) / "bundle", arguments.formats.split(","), arguments.data)
        val = open_source(arguments.data)
        print(f"decoding {len(val.samples)} images", file=sys.stderr)
        pixels = np.stack(
            [imaging.preprocess(val.read(i), bundle.preprocess) for i in range(len(val.samples))]
        )
        labels = np.array([sample.label for sample in val.samples])
        pairs = [
            (name, BundleFile(bundle, entry))
            for entry in bundle.manifest.files
            for name in installed_engines()
            if entry.input is not None and entry.format in ENGINES[name].formats
        ]
        parity = {
            (result.file, result.engine): result
            for result in bundle.manifest.parity
            if result.arithmetic is None
        }
        accuracy: dict[tuple[str, str], float] = {}
        times: dict[tuple[str, str, int], list[float]] = {}
        for name, file in pairs:
            accuracy[name, file.entry.path] = measure_top1(name, file, pixels, labels)
            print(f"{file.entry.path} in {name}: {accuracy[name, file.entry.path]:.2f} %", file=sys.stderr)
        for threads in THREADS:
            engines = [(name, file, load_file(name, file, threads=threads)) for name, file in pairs]
            for round_number in range(arguments.rounds + 3):
                for name, file, engine in engines:
                    photo = pixels[round_number % len(pixels)][None]
                    if name in ("torch", "inductor"):
                        import torch

                        torch.set_num_threads(threads)
                    # The threads of the previous engine may still spin for a while.
                    time.sleep(REST_SECONDS)
                    for _ in range(WARMUP):
                        engine.run(photo)
                    began = time.perf_counter()
                    engine.run(photo)
                    if round_number >= 3:
                        times.setdefault((name, file.entry.path, threads), []).append(
                            1000 * (time.perf_counter() - began)
                        )
            for _, _, engine in engines:
                engine.close()
        sizes: dict[tuple[str, str], int] = {}
        for entry in bundle.manifest.files:
            sizes[entry.format, entry.precision] = sizes.get((entry.format, entry.precision), 0) + entry.bytes
    rows = []
    for name, file in pairs:
        entry = file.entry
        result = parity.get((entry.path, name))
        compared = [f"{result.max_abs:.1e}", f"{result.top1_agreement:.0%}"] if result else ["", ""]
        medians = [f"{statistics.median(times[name, entry.path, threads]):.2f}" for threads in THREADS]
        size = f"{sizes[entry.format, entry.precision] / 1e6:.1f}"
        best = f"{accuracy[name, entry.path]:.2f}"
        rows.append([entry.format, entry.precision, size, name, *compared, best, *medians])
    for entry in bundle.manifest.files:
        if entry.format == "coreml" and entry.input is not None:
            size = f"{sizes['coreml', entry.precision] / 1e6:.1f}"
            rows.append(["coreml", entry.precision, size, "on a Mac only", *[""] * 5])
    packages = list(dict.fromkeys(PACKAGES.get(name, name) for name in installed_engines()))
    crop = bundle.preprocess.crop
    note = (
        f"The built-in model at {crop} x {crop}. Differences from the training framework are on the "
        f"reference images, top-1 is on the {len(labels):,} validation images of Tiny-ImageNet, latency that "
        f"of one photo, the median of {arguments.rounds} interleaved rounds. {machine(packages)}"
    )
    header = "format|precision|MB|engine|max difference|same class|top-1 %|ms, 1 thread|ms, 2 threads"
    fill("export.md", "table", [*table(header, rows), "", note])


if __name__ == "__main__":
    main()
