"""GhostNet in Paddle Inference beside ONNX Runtime, one photo on one thread, for docs/benchmarks.md.

    python benchmarks/paddle_engine.py [--rounds 30]

Every width is exported with random weights, which do not affect speed, as ONNX and as a Paddle program.
``ghostclas bench`` measures both files in turn, in its engines ``onnxruntime`` and ``paddle`` (with oneDNN).
Fills the table ``paddle`` of the document.
"""

from __future__ import annotations

import argparse
import tempfile
from pathlib import Path

from documents import fill, machine, table

from ghostclas.bench.cases import find_cases
from ghostclas.bench.models import open_models
from ghostclas.bench.noise import warning
from ghostclas.bench.results import Settings
from ghostclas.bench.run import measure
from ghostclas.bundle import Bundle
from ghostclas.exporting.additions import add_format
from ghostclas.exporting.variants import make_variant

NETWORKS = ("ghostnet_x0_5", "ghostnet_x1_0", "ghostnet_x1_3")
ENGINES = ("onnxruntime", "paddle")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=30)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ghostclas-") as folder:

        def make(name: str, size: int | None) -> Bundle:
            return add_format(make_variant(name, Path(folder) / name, size=size), "paddle")

        cases, _ = find_cases(open_models(NETWORKS, make=make), engines=ENGINES)
        settings = Settings(threads=(1,), batches=(1,), rounds=arguments.rounds, cold_starts=0, passes=0)
        results = measure(cases, settings)
    rows = []
    for network in NETWORKS:
        times = {case.engine: case.ms(1) for case in results.cases if case.model == network}
        ours, theirs = (times[engine] for engine in ENGINES)
        assert ours is not None
        assert theirs is not None
        spans = [f"{ms.p50:.2f} ±{(ms.p75 - ms.p25) / 2:.2f}" for ms in (ours, theirs)]
        rows.append([network, *spans, f"{theirs.p50 / ours.p50:.1f}"])
    lines = table("network, 224 x 224|ONNX Runtime, ms|Paddle Inference, ms|times as fast", rows)
    lines += ["", f"{machine(['onnxruntime', 'paddlepaddle'])} {results.measured[:10]}."]
    lines += [f"Medians of {settings.rounds} interleaved rounds of {settings.runs}, ± half the middle half."]
    if said := warning(results.noise):
        lines += [f"**{said}**"]
    fill("benchmarks.md", "paddle", lines)


if __name__ == "__main__":
    main()
