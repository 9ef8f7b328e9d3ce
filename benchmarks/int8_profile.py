"""The time of one photo in OpenVINO by kind of layer, in float and in int8; for docs/export.md.

    ghostclas export --model default --format openvino --precision int8 \\
        --calibration ../shared/data/tiny-imagenet-200.zip --output int8/
    python benchmarks/int8_profile.py int8/ [--rounds 200]

One thread; the two files are interleaved. A minute on 2 cores.
"""

from __future__ import annotations

import argparse
import statistics
from collections import defaultdict

import numpy as np
import openvino as ov
from documents import fill, machine, table

from ghostclas.bundle import Bundle

WARMUP = 20
OPTIONS = {
    "PERF_COUNT": True,
    "INFERENCE_NUM_THREADS": 1,
    "NUM_STREAMS": 1,
    "INFERENCE_PRECISION_HINT": "f32",
}
KINDS = {
    "Convolution": "convolutions, 1x1 and the stem",
    "GroupConvolution": "depthwise convolutions",
    "Reorder": "reorders between layouts and precisions",
    "Concatenation": "concatenations",
    "Concat": "concatenations",
    "FullyConnected": "classifier",
}


def by_kind(request: ov.InferRequest, depthwise: set[str], photo: np.ndarray) -> dict[str, float]:
    """Return the milliseconds of one photo for each kind of layer."""
    request.infer({0: photo})
    times: dict[str, float] = defaultdict(float)
    for layer in request.profiling_info:
        if str(layer.status).endswith("EXECUTED"):
            kind = "GroupConvolution" if layer.node_name in depthwise else layer.node_type
            times[KINDS.get(kind, "everything else")] += layer.real_time.total_seconds() * 1000
    times["all"] = sum(times.values())
    return times


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("bundle")
    parser.add_argument("--rounds", type=int, default=200)
    arguments = parser.parse_args()
    bundle = Bundle.open(arguments.bundle)
    core = ov.Core()
    crop = bundle.preprocess.crop
    pixels = bundle.reference().pixels
    requests = {}
    for precision, file in (("float", bundle.file()), ("int8", bundle.file("openvino", "int8"))):
        model = core.read_model(str(file.path))
        depthwise = {
            op.get_friendly_name() for op in model.get_ops() if op.get_type_name() == "GroupConvolution"
        }
        requests[precision] = core.compile_model(model, "CPU", OPTIONS).create_infer_request(), depthwise
    found: dict[str, dict[str, list[float]]] = {name: defaultdict(list) for name in requests}
    for number in range(arguments.rounds + WARMUP):
        photo = pixels[number % len(pixels)][None]
        for name, (request, depthwise) in requests.items():
            times = by_kind(request, depthwise, photo)
            if number >= WARMUP:
                for kind, spent in times.items():
                    found[name][kind].append(spent)
    kinds = sorted(
        {*found["float"], *found["int8"]} - {"all"}, key=lambda k: -sum(found["float"].get(k, [0]))
    )
    rows = [
        [kind, *(f"{statistics.median(found[name].get(kind, [0.0])):.2f}" for name in found)]
        for kind in (*kinds, "all")
    ]
    note = (
        f"`{bundle.name}` at {crop} x {crop}, one photo, one thread, medians of {arguments.rounds} rounds "
        f"with OpenVINO's own profiler on. {machine(['openvino'])}"
    )
    fill("export.md", "profile", [*table("layers|float, ms|int8, ms", rows), "", note])


if __name__ == "__main__":
    main()
