"""The network as every exporter takes it: norms folded, normalisation in front, photos in, logits out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ghostclas.bundle import Bundle, TensorSpec
from ghostclas.models.folded import bundle_state, flush_subnormals, fold_batch_norms
from ghostclas.models.registry import create_model
from ghostclas.spec import PreprocessSpec

INPUT, OUTPUT = "images", "logits"


class Normalised(nn.Module):
    """A network behind its normalisation: uint8 ``[N, H, W, 3]`` to float32 logits ``[N, C]``."""

    mean: Tensor
    scale: Tensor

    def __init__(self, model: nn.Module, spec: PreprocessSpec) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", 255 * torch.tensor(spec.mean).view(1, 3, 1, 1))
        self.register_buffer("scale", 1 / (255 * torch.tensor(spec.std).view(1, 3, 1, 1)))

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 photos to logits."""
        # Contiguous, or every layer after it would be traced in the memory layout of the photos.
        pixels = images.permute(0, 3, 1, 2).contiguous().float()
        logits: Tensor = self.model((pixels - self.mean) * self.scale)
        return logits


class Planar(nn.Module):
    """The same for formats that know no uint8: float32 ``[N, 3, H, W]`` with values from 0 to 255."""

    def __init__(self, network: Normalised) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Map planar photos to logits."""
        network = self.network
        logits: Tensor = network.model((pixels - network.mean) * network.scale)
        return logits


def load_network(bundle: Bundle) -> Normalised:
    """Return the network of a bundle as exporters take it, in evaluation mode.

    Raises:
        BundleError: the bundle's weights do not verify, or are not those of its network.
    """
    model = create_model(bundle.spec)
    model.load_state_dict(bundle_state(bundle))
    folded = fold_batch_norms(model).to(memory_format=torch.contiguous_format)
    flush_subnormals(folded)
    return Normalised(folded, bundle.preprocess).eval()


def photos_port(crop: int, *, batch: int | None = None, name: str = INPUT) -> TensorSpec:
    """Describe an input that takes photos as they are."""
    return TensorSpec(name=name, dtype="uint8", layout="NHWC", shape=(batch, crop, crop, 3))


def planes_port(crop: int, *, name: str = INPUT) -> TensorSpec:
    """Describe an input that takes one photo as planes of floats."""
    return TensorSpec(name=name, dtype="float32", layout="NCHW", shape=(1, 3, crop, crop))


def logits_port(num_classes: int, *, batch: int | None = None, name: str = OUTPUT) -> TensorSpec:
    """Describe an output of logits."""
    return TensorSpec(name=name, dtype="float32", layout="NC", shape=(batch, num_classes))
