"""ExecuTorch: ``model.pte`` for PyTorch's runtime on phones; XNNPACK runs the convolutions.

It takes one uint8 photo at a time and computes in float32.
"""

from __future__ import annotations

import torch

from ghostclas.exporting.conversion import Conversion, Written, image_input, logits_output
from ghostclas.extras import require


def convert(job: Conversion) -> list[Written]:
    """Write the network for ExecuTorch."""
    exir = require("executorch.exir", extra="executorch")
    xnnpack = require(
        "executorch.backends.xnnpack.partition.xnnpack_partitioner", extra="executorch"
    ).XnnpackPartitioner
    job.step("exporting the network with torch.export")
    example = torch.zeros(1, job.crop, job.crop, 3, dtype=torch.uint8)
    exported = torch.export.export(job.network, (example,))
    job.step("lowering it to XNNPACK")
    program = exir.to_edge_transform_and_lower(exported, partitioner=[xnnpack()]).to_executorch()
    path = job.name("model", ".pte")
    job.step("writing the program")
    (job.folder / path).write_bytes(program.buffer)
    return [
        Written(
            path=path,
            input=image_input(job.crop, batch=1),
            output=logits_output(job.num_classes, batch=1),
        )
    ]
