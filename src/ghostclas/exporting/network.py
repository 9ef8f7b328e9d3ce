"""The network for all exporters: folded norms, normalisation inside, uint8 photos in, logits out."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from ghostclas.bundle import Bundle
from ghostclas.exporting.onnx_file import round_to_half
from ghostclas.models.folded import flush_subnormals, fold_batch_norms
from ghostclas.models.registry import create_model
from ghostclas.models.saved import bundle_state
from ghostclas.spec import PreprocessSpec


class Normalised(nn.Module):
    """A network with its normalisation: uint8 ``[N, H, W, 3]`` to float32 logits ``[N, C]``."""

    mean: Tensor
    scale: Tensor

    def __init__(self, model: nn.Module, spec: PreprocessSpec) -> None:
        super().__init__()
        self.model = model
        self.register_buffer("mean", 255 * torch.tensor(spec.mean).view(1, 3, 1, 1))
        self.register_buffer("scale", 1 / (255 * torch.tensor(spec.std).view(1, 3, 1, 1)))

    def forward(self, images: Tensor) -> Tensor:
        """Map uint8 photos to logits."""
        logits: Tensor = self.model(_normalise(images, self.mean, self.scale))
        return logits


class WithFeatures(nn.Module):
    """The same network with a second output: logits ``[N, C]`` and pooled features ``[N, D]``.

    The features are the input of the classifier, the last layer.
    """

    mean: Tensor
    scale: Tensor

    def __init__(self, network: Normalised) -> None:
        super().__init__()
        self.model = network.model
        self.register_buffer("mean", network.mean)
        self.register_buffer("scale", network.scale)

    def forward(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Map uint8 photos to logits and features."""
        taken: list[Tensor] = []
        last = classifier_of(self.model)
        assert last is not None
        hook = last.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
        try:
            logits = self.model(_normalise(images, self.mean, self.scale))
        finally:
            hook.remove()
        return logits, taken[-1]


def classifier_of(model: nn.Module) -> nn.Linear | None:
    """Return the layer that maps pooled features to logits, or ``None`` if it is not linear."""
    # timm's networks return theirs from a method.
    get = getattr(model, "get_classifier", None)
    last = get() if callable(get) else getattr(model, "classifier", None)
    return last if isinstance(last, nn.Linear) else None


def feature_size(model: nn.Module) -> int | None:
    """Return the number of a network's pooled features, or ``None`` without a linear classifier."""
    last = classifier_of(model)
    return None if last is None else last.in_features


def _normalise(images: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    # Contiguous: a trace of every later layer would otherwise keep the memory layout of the photos.
    pixels = images.permute(0, 3, 1, 2).contiguous().float()
    return (pixels - mean) * scale


class Planar(nn.Module):
    """The same network for formats without uint8: float32 ``[N, 3, H, W]`` with values from 0 to 255."""

    def __init__(self, network: Normalised) -> None:
        super().__init__()
        self.network = network

    def forward(self, pixels: Tensor) -> Tensor:
        """Map planar photos to logits."""
        network = self.network
        logits: Tensor = network.model((pixels - network.mean) * network.scale)
        return logits


def load_network(bundle: Bundle) -> Normalised:
    """Return the network of a bundle for exporters, in evaluation mode.

    Its matrices are those of the bundle's ONNX file; in an fp16 bundle they are float16 numbers.

    Raises:
        BundleError: the bundle's weights do not verify, or belong to another network.
    """
    model = create_model(bundle.spec)
    model.load_state_dict(bundle_state(bundle))
    folded = fold_batch_norms(model).to(memory_format=torch.contiguous_format)
    flush_subnormals(folded)
    if bundle.file("onnx").entry.precision == "fp16":
        round_matrices(folded)
    return Normalised(folded, bundle.preprocess).eval()


def matrices_of(model: nn.Module) -> dict[str, Tensor]:
    """Return the parameters that an fp16 bundle rounds, by name: all with more than one dimension."""
    return {name: tensor for name, tensor in model.state_dict().items() if tensor.ndim > 1}


def round_matrices(model: nn.Module) -> None:
    """Round the matrices of a network to float16 numbers, in place.

    Raises:
        ExportError: one of them has values beyond the range of float16.
    """
    for name, tensor in matrices_of(model).items():
        tensor.copy_(torch.from_numpy(round_to_half(name, tensor.numpy())))
