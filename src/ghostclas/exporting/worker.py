"""One conversion in a process of its own: ``python -m ghostclas.exporting.worker JOB.json``.

Toolchains print on every stream, change global state, keep gigabytes and sometimes end the process; here that
touches nobody else. The answer is in ``outcome.json`` beside the job, the current step in ``step``.
"""

from __future__ import annotations

import json
import sys
from importlib import import_module
from pathlib import Path
from typing import Any

from ghostclas.bundle import Bundle
from ghostclas.errors import MissingExtraError
from ghostclas.exporting.conversion import Conversion, Quantization
from ghostclas.exporting.network import load_network
from ghostclas.exporting.onnx import in_full
from ghostclas.extras import require


def main(job_file: Path) -> None:
    """Carry out the job and write its outcome."""
    job = json.loads(job_file.read_text(encoding="utf-8"))
    folder = job_file.parent

    def step(text: str) -> None:
        (folder / "step").write_text(text, encoding="utf-8")

    try:
        step("importing the toolchain")
        convert = import_module(f"ghostclas.exporting.{job['converter']}").convert
        step("loading the network")
        bundle = Bundle.open(job["bundle"])
        features = bundle.file("onnx").entry.features
        written = convert(
            Conversion(
                network=load_network(bundle),
                onnx_file=_full_graph(bundle, folder / "full.onnx"),
                precision=job["precision"],
                folder=folder / "files",
                crop=bundle.preprocess.crop,
                num_classes=len(bundle.classes),
                feature_size=features.size("C") if features else None,
                step=step,
                quantization=Quantization.model_validate(job["quantization"])
                if job["quantization"]
                else None,
            )
        )
        outcome: dict[str, Any] = {"written": [entry.model_dump() for entry in written]}
    except MissingExtraError as error:
        outcome = {"missing": str(error)}
    except Exception as error:  # whatever a toolchain raises
        lines = str(error).strip().splitlines() or [""]
        outcome = {"error": f"{type(error).__name__}: {lines[0]}"}
    (folder / "outcome.json").write_text(json.dumps(outcome), encoding="utf-8")


def _full_graph(bundle: Bundle, target: Path) -> Path:
    onnx = require("onnx", extra="export")
    onnx.save_model(in_full(onnx.load_model_from_string(bundle.file("onnx").read())), target)
    return target


if __name__ == "__main__":
    main(Path(sys.argv[1]))
