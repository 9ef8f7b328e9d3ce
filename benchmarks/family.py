"""GhostNet and other mobile networks, measured on one machine, for docs/benchmarks.md.

    python benchmarks/family.py [--rounds 30] [--engine openvino,onnxruntime]
    python benchmarks/family.py --redraw

Every network is exported with random weights, which do not affect speed and size, and measured by
``ghostclas bench``. Writes docs/benchmarks/ (bench.json and the charts) and fills the tables of the document;
with --redraw from the bench.json that is there. Accuracies are published ones, and marked as such.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

from documents import DOCS, fill, table

from ghostclas.bench.cases import find_cases
from ghostclas.bench.charts import accuracy_charts, model_charts
from ghostclas.bench.models import open_models
from ghostclas.bench.noise import warning
from ghostclas.bench.report import JSON, notes, tables
from ghostclas.bench.results import Results, Settings, read_results
from ghostclas.bench.run import measure
from ghostclas.bundle import Bundle
from ghostclas.exporting.variants import make_variant
from ghostclas.pages.charts import picture

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
DRAWN = "ghostnet_x1_0"
"""The network whose threads and batches are drawn."""


def say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


def phase(what: str) -> Callable[[int, int], None]:
    return lambda done, total: say(f"{what}: {done} of {total}")


def measured(rounds: int, engines: list[str]) -> Results:
    with tempfile.TemporaryDirectory(prefix="ghostclas-") as folder:

        def make(name: str, size: int | None) -> Bundle:
            say(f"exporting {name}")
            return make_variant(name, Path(folder) / name.replace(":", "_"), size=size)

        opened = open_models(NETWORKS, make=make)
        cases, skipped = find_cases(opened, engines=engines)
        return measure(cases, Settings(rounds=rounds), skipped=skipped, phase=phase)


def draw(results: Results, folder: Path) -> list[str]:
    """Write the charts of accuracy, and those of the network in the middle; return their Markdown."""
    charts = [*zip(("accuracy_latency", "accuracy_size"), accuracy_charts(results), strict=True)]
    (own,) = (model.charts for model in model_charts(results) if model.model == DRAWN)
    charts += zip(("threads", "batches"), own, strict=True)
    lines = []
    for name, chart in charts:
        (folder / f"{name}.svg").write_text(picture(chart), encoding="utf-8", newline="\n")
        title = chart.title if name.startswith("accuracy") else f"{chart.title}, {DRAWN}"
        lines += ["", f"![{title}](benchmarks/{name}.svg)"]
    return lines


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    parser.add_argument("--engine", default="openvino,onnxruntime")
    parser.add_argument("--redraw", action="store_true", help="measure nothing")
    arguments = parser.parse_args()
    folder = DOCS / "benchmarks"
    if arguments.redraw:
        results = read_results(folder)
    else:
        results = measured(arguments.rounds, arguments.engine.split(","))
        (folder / JSON).write_text(results.model_dump_json(indent=1) + "\n", encoding="utf-8", newline="\n")
    lines = [f"{results.machine}; {results.measured[:10]}.", ""]
    for one in tables(results):
        rows = [[cell.replace("|", "\\|") for cell in row] for row in one.rows]
        lines += [*table("|".join(one.header), rows), ""]
    lines += [f"- {note}" for note in notes(results)]
    if said := warning(results.noise):
        lines += [f"- **{said}**"]
    fill("benchmarks.md", "family", [*lines, *draw(results, folder)])


if __name__ == "__main__":
    main()
