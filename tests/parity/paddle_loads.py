"""Load a ``.pdparams`` into the real PaddleClas network, and write what it computes.

    python paddle_loads.py GhostNet_x1_0 CLASSES WEIGHTS PLANES ANSWER [EXPORTED]

Runs in a Python that has paddlepaddle and paddleclas. Every tensor of the network has to be in WEIGHTS.
PLANES is a ``.npy`` of normalised float32 ``[N, 3, H, W]``. With EXPORTED, the network is exported there as
PaddleClas' ``export_model`` does it, with softmax, as a program of Paddle 3.
"""

import importlib
import importlib.util
import sys
from pathlib import Path

import numpy as np
import paddle

_package = importlib.util.find_spec("paddleclas")
assert _package is not None
assert _package.origin is not None
sys.path.insert(0, str(Path(_package.origin).parent))
from ppcls.arch import backbone  # noqa: E402


def main(network: str, classes: int, weights: str, planes: str, answer: str, exported: str | None) -> None:
    paddle.set_device("cpu")
    model = getattr(backbone, network)(class_num=classes)
    if weights != "random":
        missing, unexpected = model.set_state_dict(paddle.load(weights))
        assert not missing, missing
        assert not unexpected, unexpected
    else:
        rng = np.random.default_rng(3)
        for name, tensor in model.state_dict().items():
            value = tensor.numpy()
            if name.endswith("_variance"):
                tensor.set_value(rng.uniform(0.5, 1.5, value.shape).astype(np.float32))
            elif name.endswith("_mean") or (value.ndim == 1 and name.endswith("bias")):
                tensor.set_value(rng.normal(0, 0.1, value.shape).astype(np.float32))
    model.eval()
    with paddle.no_grad():
        logits = model(paddle.to_tensor(np.load(planes)))
    np.save(answer, logits.numpy())
    if exported is not None:
        whole = paddle.nn.Sequential(model, paddle.nn.Softmax(axis=-1))
        shape = [None, *np.load(planes).shape[1:]]
        static = paddle.jit.to_static(
            whole, input_spec=[paddle.static.InputSpec(shape=shape, dtype="float32")], full_graph=True
        )
        paddle.jit.save(static, exported)


if __name__ == "__main__":
    _, network_name, count, weight_file, planes_file, answer_file, *rest = sys.argv
    main(network_name, int(count), weight_file, planes_file, answer_file, rest[0] if rest else None)
