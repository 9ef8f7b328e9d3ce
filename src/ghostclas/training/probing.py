"""A classifier that starts where logistic regression on the network's features ends, instead of at random.

Few images do not have to teach a random classifier first, whose gradients would distort good features (A.
Kumar et al., "Fine-Tuning can Distort Pretrained Features and Underperform Out-of-Distribution", ICLR 2022:
linear probing, then fine-tuning).
"""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor, nn

from ghostclas.data.source import Source
from ghostclas.exporting.network import classifier_of
from ghostclas.spec import PreprocessSpec
from ghostclas.training.input.images import EvaluationImages
from ghostclas.training.input.loader import evaluation_batches
from ghostclas.training.input.shared_memory import SharedMemory
from ghostclas.training.logistic import LinearClassifier, fit_classifier

_BATCH = 32


def fit_head(
    network: nn.Module,
    source: Source,
    preprocess: PreprocessSpec,
    *,
    workers: int,
    memory: SharedMemory,
    seed: int = 0,
) -> LinearClassifier | None:
    """Fit the last layer of ``network``, in place, on its features of all images that can be read.

    The layer before it, of a GhostNet, is made to let the pooled maps through: they suit other classes better
    than the features of the old ones. Its norm gets their statistics, so that it does so in training, too.

    Args:
        network: with its weights, on the CPU.
        source: the training images.
        preprocess: that of validation.
        workers: processes that prepare images.
        memory: what they share.
        seed: the folds of the cross-validation.

    Returns:
        What was found, or ``None`` for a network whose last layer is not linear, which stays as it is.
    """
    last = classifier_of(network)
    if last is None:
        return None
    head = _head_of(network)
    if head is not None:
        _let_through(head)
    features, labels = _features(network, last, source, preprocess, workers, memory)
    norm = getattr(head, "norm", None)
    if isinstance(norm, nn.BatchNorm2d):
        _set_statistics(norm, features)
    found = fit_classifier(features.numpy(), labels, last.out_features, seed=seed)
    with torch.no_grad():
        last.weight.copy_(torch.from_numpy(found.weight))
        last.bias.copy_(torch.from_numpy(found.bias))
    return found


def _head_of(network: nn.Module) -> nn.Module | None:
    """Return the layer between pooling and features that can be the identity: of a GhostNet."""
    head, pool = getattr(network, "head", None), getattr(network, "pool", None)
    conv = getattr(head, "conv", None)
    fits = (
        isinstance(pool, nn.AdaptiveAvgPool2d)
        and isinstance(conv, nn.Conv2d)
        and isinstance(getattr(head, "act", None), nn.ReLU)
        and conv.out_channels >= conv.in_channels
        and conv.groups == 1
    )
    return head if fits else None


@torch.no_grad()
def _let_through(head: nn.Module) -> None:
    conv, norm = head.get_submodule("conv"), getattr(head, "norm", None)
    assert isinstance(conv, nn.Conv2d)
    conv.weight.copy_(torch.eye(conv.out_channels, conv.in_channels)[:, :, None, None])
    if conv.bias is not None:
        conv.bias.zero_()
    if isinstance(norm, nn.BatchNorm2d):
        norm.reset_parameters()
        assert norm.running_var is not None
        norm.running_var.fill_(1 - norm.eps)


@torch.no_grad()
def _set_statistics(norm: nn.BatchNorm2d, features: Tensor) -> None:
    """Let ``norm`` map values of these statistics to themselves, by its own and by a batch's statistics."""
    assert norm.running_mean is not None
    assert norm.running_var is not None
    mean, variance = features.mean(dim=0), features.var(dim=0, unbiased=False)
    norm.running_mean.copy_(mean)
    norm.running_var.copy_(variance)
    norm.bias.copy_(mean)
    norm.weight.copy_(torch.where(variance > 0, torch.sqrt(variance + norm.eps), 0.0))


@torch.inference_mode()
def _features(
    network: nn.Module,
    last: nn.Linear,
    source: Source,
    preprocess: PreprocessSpec,
    workers: int,
    memory: SharedMemory,
) -> tuple[Tensor, np.ndarray]:
    mean, std = (255 * torch.tensor(part).view(1, 3, 1, 1) for part in (preprocess.mean, preprocess.std))
    taken: list[Tensor] = []
    labels: list[Tensor] = []
    hook = last.register_forward_pre_hook(lambda _, inputs: taken.append(inputs[0]))
    training = network.training
    network.eval()
    try:
        for batch in evaluation_batches(
            EvaluationImages(source, preprocess), batch_size=_BATCH, workers=workers, memory=memory
        ):
            network((batch.images.float() - mean) / std)
            there = batch.weights > 0
            taken[-1] = taken[-1][there].clone()
            labels.append(batch.labels[there])
    finally:
        hook.remove()
        network.train(training)
    return torch.cat(taken), torch.cat(labels).numpy()
