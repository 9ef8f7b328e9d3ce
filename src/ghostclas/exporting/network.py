"""The network as every exporter takes it: norms folded, normalisation in front, photos in, logits out."""

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
        logits: Tensor = self.model(_normalise(images, self.mean, self.scale))
        return logits


class WithFeatures(nn.Module):
    """The same network with a second answer: logits ``[N, C]`` and pooled features ``[N, D]``.

    The features are what the classifier, the last layer, takes.
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
    """Return the layer that turns pooled features into logits, or ``None`` where it is no linear one."""
    # timm's networks know theirs by a method.
    get = getattr(model, "get_classifier", None)
    last = get() if callable(get) else getattr(model, "classifier", None)
    return last if isinstance(last, nn.Linear) else None


def feature_size(model: nn.Module) -> int | None:
    """Return how many pooled features a network has, or ``None`` where it has no linear classifier."""
    last = classifier_of(model)
    return None if last is None else last.in_features


def _normalise(images: Tensor, mean: Tensor, scale: Tensor) -> Tensor:
    # Contiguous, or every layer after it would be traced in the memory layout of the photos.
    pixels = images.permute(0, 3, 1, 2).contiguous().float()
    return (pixels - mean) * scale


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

    Its matrices are those of the bundle's ONNX file: of an fp16 bundle they are float16 numbers.

    Raises:
        BundleError: the bundle's weights do not verify, or are not those of its network.
    """
    model = create_model(bundle.spec)
    model.load_state_dict(bundle_state(bundle))
    folded = fold_batch_norms(model).to(memory_format=torch.contiguous_format)
    flush_subnormals(folded)
    if bundle.file("onnx").entry.precision == "fp16":
        round_matrices(folded)
    return Normalised(folded, bundle.preprocess).eval()


def matrices_of(model: nn.Module) -> dict[str, Tensor]:
    """Return what is rounded in an fp16 bundle, by name: all that has more than one dimension."""
    return {name: tensor for name, tensor in model.state_dict().items() if tensor.ndim > 1}


def round_matrices(model: nn.Module) -> None:
    """Round the matrices of a network to float16 numbers, in place.

    Raises:
        ExportError: one of them has values beyond the range of float16.
    """
    for name, tensor in matrices_of(model).items():
        tensor.copy_(torch.from_numpy(round_to_half(name, tensor.numpy())))
