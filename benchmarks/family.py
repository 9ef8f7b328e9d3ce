"""GhostNet and other mobile networks, measured on one machine, for docs/benchmarks.md.

    python benchmarks/family.py [--rounds 30] [--engine openvino,onnxruntime]

Every network is exported with random weights, which do not affect speed and size, and measured by
``ghostclas bench``. Writes docs/benchmarks/ (bench.json, index.md and the plots) and fills the tables of
the document. Accuracies are published ones, and marked as such.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from documents import DOCS, fill, table

from ghostclas.bench.cases import find_cases
from ghostclas.bench.models import open_models
from ghostclas.bench.noise import warning
from ghostclas.bench.plots import PLOTS
from ghostclas.bench.report import notes, tables, write_report
from ghostclas.bench.results import Settings
from ghostclas.bench.run import measure
from ghostclas.bundle import Bundle
from ghostclas.exporting.variants import make_variant

NETWORKS = (
    "ghostnet_x0_5",
    "ghostnet_x1_0",
    "ghostnet_x1_3",
    "timm:mobilenetv3_small_100",
    "timm:mobilenetv3_large_100",
    "timm:mobilenetv2_100",
    "timm:mobilenetv1_100",
    "timm:tf_efficientnet_lite0",
    "timm:mobilenetv4_conv_small",
    "timm:repghostnet_050",
    "timm:repghostnet_100",
    "timm:repghostnet_130",
)


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def phase(what: str) -> Callable[[int, int], None]:
    return lambda done, total: say(f"{what}: {done} of {total}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--engine", default="openvino,onnxruntime")
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ghostclas-") as folder:

        def make(name: str, size: int | None) -> Bundle:
            say(f"exporting {name}")
            return make_variant(name, Path(folder) / name.replace(":", "_"), size=size)

        opened = open_models(NETWORKS, make=make)
        cases, skipped = find_cases(opened, engines=arguments.engine.split(","))
        settings = Settings(rounds=arguments.rounds)
        results = measure(cases, settings, skipped=skipped, phase=phase)
    report = DOCS / "benchmarks"
    write_report(results, report)
    lines = [f"{results.machine}; {results.measured[:10]}.", ""]
    for one in tables(results):
        rows = [[cell.replace("|", "\\|") for cell in row] for row in one.rows]
        lines += [*table("|".join(one.header), rows), ""]
    lines += [f"- {note}" for note in notes(results)]
    if said := warning(results.noise):
        lines += [f"- **{said}**"]
    for name, picture in PLOTS.items():
        if (report / name).is_file():
            lines += ["", f"![{picture.title}](benchmarks/{name})"]
    fill("benchmarks.md", "family", lines)


if __name__ == "__main__":
    main()
