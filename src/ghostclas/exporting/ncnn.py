"""ncnn, for phones and boards: ``model.param`` and ``model.bin``, made by pnnx from a traced network.

It takes one photo at a time as float planes from 0 to 255; normalisation is in the graph. ``fp16`` halves the
weights on disk; the engine still computes in float32.
"""

from __future__ import annotations

import subprocess
import warnings
from typing import Any

import torch

from ghostclas.exporting.conversion import Conversion, Written, logits_output, planar_input
from ghostclas.exporting.network import Planar
from ghostclas.extras import require


def convert(job: Conversion) -> list[Written]:
    """Write the network for ncnn."""
    pnnx = require("pnnx", extra="export-ncnn")
    job.step("tracing the network with torch.jit")
    example = torch.zeros(1, 3, job.crop, job.crop)
    with warnings.catch_warnings():
        # pnnx reads only TorchScript, which is deprecated.
        warnings.simplefilter("ignore")
        trace: Any = torch.jit.trace
        trace(Planar(job.network).eval(), (example,)).save(str(job.folder / "traced.pt"))
    job.step("converting with pnnx")
    graph, weights = (f"ncnn/{job.name('model', suffix)}" for suffix in (".param", ".bin"))
    (job.folder / "ncnn").mkdir()
    done = subprocess.run(  # noqa: S603 - the program of the package
        [
            pnnx.EXEC_PATH,
            str(job.folder / "traced.pt"),
            f"inputshape=[1,3,{job.crop},{job.crop}]",
            f"fp16={int(job.precision == 'fp16')}",
            f"ncnnparam={job.folder / graph}",
            f"ncnnbin={job.folder / weights}",
        ],
        cwd=job.folder,
        check=False,
    )
    if done.returncode:
        raise RuntimeError(f"pnnx ended with exit status {done.returncode}")
    for path in (graph, weights):
        if not (job.folder / path).is_file():
            raise RuntimeError(f"pnnx ended without writing {path}")
    return [
        Written(
            path=graph,
            input=planar_input(job.crop, name="in0"),
            output=logits_output(job.num_classes, batch=1, name="out0"),
        ),
        Written(path=weights),
    ]
