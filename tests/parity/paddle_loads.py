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
from ppcls.utils import logger  # noqa: E402

logger.init_logger()


def main(network: str, classes: int, weights: str, planes: str, answer: str, exported: str | None) -> None:
    paddle.set_device("cpu")
    paddle.seed(1)
    model = getattr(backbone, network)(class_num=classes)
    if weights != "random":
        missing, unexpected = model.set_state_dict(paddle.load(weights))
        assert not missing, missing
        assert not unexpected, unexpected
    else:
        # Norms that have seen the photos: without them, rounding is as large as what photos differ by.
        for layer in model.sublayers():
            if hasattr(layer, "_momentum"):
                layer._momentum = 0.0
        model.train()
        with paddle.no_grad():
            model(paddle.to_tensor(np.load(planes)))
        # As after training: logits differ by photo, and are neither tiny nor huge.
        model.eval()
        with paddle.no_grad():
            logits = model(paddle.to_tensor(np.load(planes))).numpy()
        mean = logits.mean(axis=0)
        factor = np.float32(3 / (logits - mean).std())
        weight = [tensor for tensor in model.parameters() if tensor.ndim == 2][-1]
        bias = model.parameters()[-1]
        weight.set_value(weight.numpy() * factor)
        bias.set_value(bias.numpy() * factor - mean * factor)
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
