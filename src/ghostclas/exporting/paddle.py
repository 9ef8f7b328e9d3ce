"""Paddle: ``paddle/inference.json`` and its parameters, a program of Paddle 3 for Paddle Inference.

It takes uint8 photos in a dynamic batch; the engine ``paddle`` runs it. ``paddle_legacy`` writes the form
that deployments outside this package take.
"""

from __future__ import annotations

from ghostclas.engines.paddle_files import check_parameters, read_parameters, read_program
from ghostclas.exporting.conversion import Conversion, Written, image_input, logits_output
from ghostclas.exporting.paddle_program import write_program

PROGRAM, PARAMETERS = "paddle/inference.json", "paddle/inference.pdiparams"


def convert(job: Conversion) -> list[Written]:
    """Write the network for Paddle Inference."""
    (job.folder / "paddle").mkdir()
    source = job.onnx_file
    job.step("translating the graph to a Paddle program")
    write_program(source, (job.folder / PROGRAM).with_suffix(""))
    program = read_program((job.folder / PROGRAM).read_bytes())
    check_parameters(program, read_parameters((job.folder / PARAMETERS).read_bytes()))
    (photos,), (logits,) = program.inputs, program.outputs
    return [
        Written(
            path=PROGRAM,
            input=image_input(job.crop, name=photos.name),
            output=logits_output(job.num_classes, name=logits.name),
        ),
        Written(path=PARAMETERS),
    ]
