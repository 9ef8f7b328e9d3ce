"""One conversion in a process of its own: ``python -m ghostclas.exporting.worker JOB.json``.

Toolchains print on every stream, change global state, keep gigabytes and sometimes end the process, so each
runs alone. The result is in ``outcome.json`` beside the job, the current step in ``step``.
"""

from __future__ import annotations

import json
import sys
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ghostclas.bundle import Bundle
from ghostclas.errors import MissingExtraError
from ghostclas.exporting.conversion import Conversion, Quantization
from ghostclas.exporting.onnx_file import write_fp32_graph

if TYPE_CHECKING:
    from ghostclas.exporting.network import Normalised


def main(job_file: Path) -> None:
    """Carry out the job and write its outcome."""
    job = json.loads(job_file.read_text(encoding="utf-8"))
    folder = job_file.parent

    def step(text: str) -> None:
        (folder / "step").write_text(text, encoding="utf-8")

    if job["isolated"]:
        # Python treats such an entry as a module that cannot be imported.
        sys.modules["torch"] = None  # type: ignore[assignment]
    try:
        step("importing the toolchain")
        convert = import_module(job["converter"]).convert
        bundle = Bundle.open(job["bundle"])
        quantization = job["quantization"]
        written = convert(
            Conversion(
                bundle=bundle,
                precision=job["precision"],
                folder=folder / "files",
                step=step,
                load_network=partial(_load_network, bundle, isolated=job["isolated"]),
                write_onnx=partial(write_fp32_graph, bundle),
                options=job["options"],
                quantization=Quantization.model_validate(quantization) if quantization else None,
            )
        )
        outcome: dict[str, Any] = {"written": [entry.model_dump() for entry in written]}
    except MissingExtraError as error:
        outcome = {"missing": str(error)}
    except Exception as error:  # toolchains raise any class
        lines = str(error).strip().splitlines() or [""]
        outcome = {"error": f"{type(error).__name__}: {lines[0]}"}
    (folder / "outcome.json").write_text(json.dumps(outcome), encoding="utf-8")


def _load_network(bundle: Bundle, *, isolated: bool) -> Normalised:
    if isolated:
        raise RuntimeError("a converter that is isolated from torch has only the ONNX file")
    from ghostclas.exporting.network import load_network

    return load_network(bundle)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
