"""Made-up results, for tests of reports, comparisons and choices."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ghostclas.bench.machine import Machine
from ghostclas.bench.results import Accuracy, CaseResult, Latency, Noise, Results, Settings
from ghostclas.bench.statistics import spread

MACHINE = Machine(
    cpu="a processor",
    cores=2,
    all_cores=2,
    memory=8 * 2**30,
    instructions=("avx2", "fma"),
    governor=None,
    load=0.0,
    system="Linux x86_64",
    python="3.11.7",
    packages={"onnxruntime": "1.32.0"},
)


QUIET = Noise(case="x", difference=0.01, width=0.05, allowed_difference=0.05, allowed_width=0.25)
SETTINGS: Sequence[tuple[int, int]] = ((1, 1), (2, 1), (4, 1), (2, 4), (2, 8))


def case(
    model: str = "ghostnet_x1_0",
    ms: float = 4.0,
    top1: float | None = 70.0,
    *,
    engine: str = "onnxruntime",
    **fields: Any,
) -> CaseResult:
    """One case that takes ``ms`` with one thread, half of that with more, and so much for each photo."""
    times: Mapping[tuple[int, int], float] = {
        (threads, batch): ms * batch / min(threads, 2) for threads, batch in SETTINGS
    }
    known: dict[str, Any] = {
        "format": "onnx",
        "precision": "fp32",
        "size": 224,
        "bytes": 20_000_000,
        "macs": 141_000_000,
        "latency": tuple(
            Latency(threads=threads, batch=batch, ms=spread([0.98 * value, value, 1.02 * value]))
            for (threads, batch), value in times.items()
        ),
        "accuracy": None
        if top1 is None
        else Accuracy(dataset="shop/val", top1=top1, images=50, measured=True),
        "cold_start_ms": spread([400.0, 410.0, 430.0]),
        "images_per_second": spread([280.0, 290.0]),
        "peak_memory": 150_000_000,
    }
    return CaseResult(model=model, engine=engine, **known | fields)


def results(*cases: CaseResult, noise: Noise | None = QUIET, **fields: Any) -> Results:
    """Results of these cases on a quiet machine."""
    known: dict[str, Any] = {"machine": MACHINE, "settings": Settings(), "photos": "256 drawn JPEGs"}
    return Results(cases=cases, noise=noise, **known | fields)


PUBLISHED = Accuracy(dataset="ImageNet-1k", top1=75.8, measured=False, source="somebody")
