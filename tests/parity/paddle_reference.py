"""Write what the real PaddleClas network computes, for our network to be compared with.

    python paddle_reference.py GhostNet_x1_0 DIRECTORY

Runs in a Python that has paddlepaddle and paddleclas; one network a process, since Paddle's parameter names
are global. Every tensor is random, so that none can be misplaced without changing the logits. DIRECTORY gets
``weights_p2.pdparams`` to ``weights_p4.pdparams`` (one for each pickle protocol of ``paddle.save``) and
``reference.npz`` with ``images``, ``logits`` and the counts ``parameters``, ``state_values`` and ``macs``.
"""

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import paddle

# PaddleClas imports its own package as `ppcls`, found from inside its folder.
_package = importlib.util.find_spec("paddleclas")
assert _package is not None
assert _package.origin is not None
sys.path.insert(0, str(Path(_package.origin).parent))
from ppcls.arch.backbone.model_zoo import ghostnet  # noqa: E402


def randomised(name: str, value: np.ndarray, rng: np.random.Generator) -> np.ndarray:
    if name.endswith("_batch_norm.weight"):
        return rng.uniform(0.5, 1.5, value.shape)
    if name.endswith("_variance"):
        # Large enough to keep sixteen residual additions from growing out of float32's precision.
        return rng.uniform(1, 3, value.shape)
    if name.endswith("excitation.bias"):
        # Around the middle of the gate's range, so that it is open, shut and in between.
        return rng.uniform(0.0, 1.2, value.shape)
    if value.ndim == 1:
        return rng.normal(0, 0.3, value.shape)
    if name == "fc_1.weight":
        return rng.normal(0, 0.05, value.shape)
    fan_in = np.prod(value.shape[1:]) if value.ndim == 4 else value.shape[0]
    return rng.normal(0, np.sqrt(1.5 / fan_in), value.shape)


def patchwork(rng: np.random.Generator) -> np.ndarray:
    """Two images that differ after pooling, too: patches, a colour of their own, and noise."""
    patches = np.kron(rng.normal(0, 1, (2, 3, 7, 7)), np.ones((1, 1, 32, 32)))
    colour = rng.normal(0, 1, (2, 3, 1, 1))
    return (patches + colour + rng.normal(0, 0.3, patches.shape)).astype(np.float32)


def counted_macs(model: paddle.nn.Layer) -> int:
    """Multiply-adds of convolutions and fully connected layers for one 224 x 224 image."""
    counts = []

    def add(layer: paddle.nn.Layer, inputs: tuple[paddle.Tensor, ...], output: paddle.Tensor) -> None:
        per_output = layer.weight.shape[0] if layer.weight.ndim == 2 else np.prod(layer.weight.shape[1:])
        counts.append(int(np.prod(output.shape[1:]) * per_output))

    hooks = [
        layer.register_forward_post_hook(add)
        for layer in model.sublayers()
        if isinstance(layer, paddle.nn.Conv2D | paddle.nn.Linear)
    ]
    with paddle.no_grad():
        model(paddle.zeros([1, 3, 224, 224]))
    for hook in hooks:
        hook.remove()
    return sum(counts)


def values(tensors: Iterable[paddle.Tensor]) -> int:
    return sum(int(np.prod(tensor.shape)) for tensor in tensors)


def main(network: str, directory: Path) -> None:
    paddle.set_device("cpu")
    rng = np.random.default_rng(7)
    model = getattr(ghostnet, network)()
    state = model.state_dict()
    for name, tensor in state.items():
        tensor.set_value(randomised(name, tensor.numpy(), rng).astype(np.float32))
    model.eval()
    for protocol in (2, 3, 4):
        paddle.save(model.state_dict(), str(directory / f"weights_p{protocol}.pdparams"), protocol=protocol)
    images = patchwork(rng)
    with paddle.no_grad():
        logits = model(paddle.to_tensor(images)).numpy()
    np.savez(
        directory / "reference.npz",
        images=images,
        logits=logits,
        parameters=values(tensor for tensor in model.parameters() if tensor.trainable),
        state_values=values(state.values()),
        macs=counted_macs(model),
    )


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
