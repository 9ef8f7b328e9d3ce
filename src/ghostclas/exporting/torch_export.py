"""torch.export: ``model.pt2``, the graph and weights of the network for PyTorch itself.

It takes uint8 photos in a dynamic batch and gives float32 logits and features. It holds no code, no pickles
and no paths of this machine; the engine refuses a file that does.
"""

from __future__ import annotations

import torch

from ghostclas.exporting.conversion import (
    INPUT,
    Conversion,
    Written,
    features_output,
    image_input,
    logits_output,
)
from ghostclas.exporting.network import WithFeatures, feature_size

MAX_BATCH = 65536


def convert(job: Conversion) -> list[Written]:
    """Write the network as an exported program."""
    job.step("exporting the network with torch.export")
    example = torch.zeros(2, job.crop, job.crop, 3, dtype=torch.uint8)
    batch = torch.export.Dim("N", min=1, max=MAX_BATCH)
    features = feature_size(job.network.model)
    network = job.network if features is None else WithFeatures(job.network)
    program = torch.export.export(network, (example,), dynamic_shapes={INPUT: {0: batch}})
    for node in program.graph.nodes:
        # Traces hold paths of this machine.
        for key in ("stack_trace", "nn_module_stack", "source_fn_stack", "torch_fn"):
            node.meta.pop(key, None)
    program.example_inputs = None
    path = job.name("model", ".pt2")
    job.step("writing the program")
    torch.export.save(program, job.folder / path)
    return [
        Written(
            path=path,
            input=image_input(job.crop),
            output=logits_output(job.num_classes),
            features=features_output(features),
        )
    ]
