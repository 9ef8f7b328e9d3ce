"""Weights for PaddleClas: ``pdparams/NAME.pdparams``, which its own networks load with nothing missing.

A ``.pdparams`` is a pickle of numpy arrays. It is written without Paddle, in the names and the layout of
PaddleClas, with the averaged weights before folding, so that PaddleClas can train on.
"""

from __future__ import annotations

import pickle

import numpy as np
import torch

from ghostclas.errors import ExportError
from ghostclas.exporting.conversion import Conversion, Written
from ghostclas.families import FAMILIES, WeightLayout
from ghostclas.models.saved import bundle_state
from ghostclas.spec import ModelSpec
from ghostclas.weights.pdparams import NAME_TABLE
from ghostclas.weights.reading import COUNTER, read_weights

PUBLISHER = "PaddleClas"


def convert(job: Conversion) -> list[Written]:
    """Write the network's weights as PaddleClas saves them."""
    layout = _layout(job.bundle.spec)
    job.step("reading the weights")
    state = bundle_state(job.bundle)
    job.step("writing them by PaddleClas' names")
    target = job.folder / "pdparams" / f"{job.bundle.spec.name}.pdparams"
    target.parent.mkdir()
    target.write_bytes(to_pdparams(state, layout))
    job.step("reading them back")
    again = read_weights(target)
    wanted = {name: value for name, value in state.items() if not name.endswith(COUNTER)}
    if again.keys() != wanted.keys() or not all(torch.equal(again[name], wanted[name]) for name in wanted):
        raise ExportError("the weights differ from the bundle's when they are read back")
    return [Written(path=target.relative_to(job.folder).as_posix())]


def to_pdparams(state: dict[str, torch.Tensor], layout: WeightLayout) -> bytes:
    """Return a state dict as the content of a ``.pdparams``."""
    arrays = {}
    for name, tensor in state.items():
        if name.endswith(COUNTER):
            continue
        if layout.linear_in_out and name.endswith(".weight"):
            # Fully connected layers are [in, out], also those of squeeze-and-excitation.
            if tensor.ndim == 2:
                tensor = tensor.t()
            elif ".se." in name:
                tensor = tensor[:, :, 0, 0].t()
        arrays[layout.theirs(name)] = np.ascontiguousarray(tensor.float().numpy())
    content = pickle.dumps({**arrays, NAME_TABLE: {name: name for name in arrays}}, protocol=2)
    # Numpy 2 calls the module by a name that numpy 1 does not know; the pickle mentions it once.
    return content.replace(b"cnumpy._core.multiarray\n", b"cnumpy.core.multiarray\n", 1)


def _layout(spec: ModelSpec) -> WeightLayout:
    for layout in FAMILIES[spec.family].weight_layouts if spec.family in FAMILIES else ():
        if layout.publisher == PUBLISHER and spec.flavour == "paddleclas":
            return layout
    raise ExportError(
        f"PaddleClas has no network like {spec.name}: only ghostnet_x* of the paddleclas flavour is there"
    )
