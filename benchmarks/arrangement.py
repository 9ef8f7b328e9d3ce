"""The gain of arranging GhostNet for CPUs: the same network in ONNX, as written and arranged.

    python benchmarks/arrangement.py [--rounds 40]

One thread, photos of 224 x 224 with random pixels, random weights. ``apart`` only keeps the halves apart,
``arranged`` is the form in bundles, and ``16 lanes`` pads to twice the block. All are interleaved. Writes
results/arrangement.md. Five minutes on 2 cores.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from unittest import mock

import numpy as np
import onnxruntime as ort
import openvino as ov
from documents import machine, table

from ghostclas.exporting.network import Normalised
from ghostclas.exporting.onnx import to_onnx
from ghostclas.exporting.untrained import untrained
from ghostclas.models import arranged
from ghostclas.models.folded import fold_batch_norms
from ghostclas.spec import PreprocessSpec

RESULTS = Path(__file__).parent / "results" / "arrangement.md"
WIDTHS = ("ghostnet_x0_5", "ghostnet_x1_0", "ghostnet_x1_3")
LANES = {"as written": None, "apart": 1, "arranged": arranged.LANES, "16 lanes": 16}
CALLS = 3
Run = Callable[[np.ndarray], np.ndarray]


def files(name: str, folder: Path) -> dict[str, Path]:
    """Write the network in every arrangement."""
    folded = fold_batch_norms(untrained(name).model)
    paths = {}
    for way, lanes in LANES.items():
        with mock.patch.object(arranged, "LANES", lanes):
            model = folded if lanes is None else arranged.arrange(folded)
        paths[way] = folder / f"{name} {way}.onnx"
        proto = to_onnx(Normalised(model, PreprocessSpec()).eval(), crop=224, name=name)
        paths[way].write_bytes(proto.SerializeToString())
    return paths


def onnxruntime(path: Path) -> Run:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    session = ort.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])
    return lambda images: session.run(None, {"images": images})[0]


def openvino(path: Path) -> Run:
    options = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
    request = ov.Core().compile_model(str(path), "CPU", options).create_infer_request()
    return lambda images: request.infer([images], share_inputs=True)[0]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=40)
    arguments = parser.parse_args()
    rows = []
    with tempfile.TemporaryDirectory(prefix="ghostclas-") as folder:
        for name in WIDTHS:
            paths = files(name, Path(folder))
            for runtime, start in (("ONNX Runtime", onnxruntime), ("OpenVINO", openvino)):
                runs = {way: start(path) for way, path in paths.items()}
                for batch in (1, 8):
                    images = np.random.default_rng(0).integers(0, 256, (batch, 224, 224, 3), dtype=np.uint8)
                    answers = [run(images) for run in runs.values()]
                    assert all(np.allclose(answers[0], answer, atol=1e-3) for answer in answers)
                    times: dict[str, list[float]] = {way: [] for way in runs}
                    for _ in range(arguments.rounds):
                        for way in random.sample(list(runs), len(runs)):
                            runs[way](images)
                            for _ in range(CALLS):
                                began = time.perf_counter()
                                runs[way](images)
                                times[way].append((time.perf_counter() - began) * 1000 / batch)
                    medians = {way: statistics.median(found) for way, found in times.items()}
                    shown = [f"{ms:.2f} ({medians['as written'] / ms:.2f})" for ms in medians.values()]
                    rows.append([name, runtime, str(batch), *shown])
    text = "\n".join(
        [
            "# GhostNet arranged for processors",
            "",
            machine(["onnxruntime", "openvino"]),
            "",
            "Milliseconds for one photo on one core, in batches of 1 and of 8; in brackets how many times as "
            "fast as the network as it is written. "
            f"Medians of {arguments.rounds} interleaved rounds of {CALLS} calls.",
            "",
            *table("|".join(["", "runtime", "batch", *LANES]), rows),
            "",
            f"`python benchmarks/arrangement.py --rounds {arguments.rounds}` repeats it.",
            "",
        ]
    )
    print(text)
    RESULTS.write_text(text)


if __name__ == "__main__":
    main()
