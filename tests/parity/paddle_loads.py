"""Put weights into the real PaddleClas network, write what it computes, and export it as PaddleClas does.

    python paddle_loads.py GhostNet_x1_0 CLASSES WEIGHTS PLANES ANSWER [EXPORTED]

Runs in a Python that has paddlepaddle and paddleclas. PLANES is a ``.npy`` of normalised float32
``[N, 3, H, W]``. WEIGHTS is a ``.pdparams`` that has to hold every tensor of the network, or a ``.npy`` of
the photos' classes, int ``[N]``: then the layers are random, norms know the photos, and the classifier is
fitted to them. With EXPORTED, the network is exported there as ``export_model`` does it, with softmax, as a
program of Paddle 3.
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


BATCH = 25


def main(network: str, classes: int, weights: str, planes: str, answer: str, exported: str | None) -> None:
    paddle.set_device("cpu")
    paddle.seed(1)
    model = getattr(backbone, network)(class_num=classes)
    photos = np.load(planes)
    if weights.endswith(".npy"):
        fit(model, photos, np.eye(classes)[np.load(weights)])
    else:
        missing, unexpected = model.set_state_dict(paddle.load(weights))
        assert not missing, missing
        assert not unexpected, unexpected
    np.save(answer, computed(model, photos))
    if exported is not None:
        whole = paddle.nn.Sequential(model, paddle.nn.Softmax(axis=-1))
        static = paddle.jit.to_static(
            whole,
            input_spec=[paddle.static.InputSpec(shape=[None, *photos.shape[1:]], dtype="float32")],
            full_graph=True,
        )
        paddle.jit.save(static, exported)


def fit(model: paddle.nn.Layer, photos: np.ndarray, wanted: np.ndarray) -> None:
    """Give a random network the norms of the photos, and a classifier by ridge regression of ``wanted``.

    Without either, what photos differ by is as small as rounding.
    """
    for layer in model.sublayers():
        if hasattr(layer, "_momentum"):
            layer._momentum = 0.0
    model.train()
    with paddle.no_grad():
        model(paddle.to_tensor(photos[:: max(1, len(photos) // 50)]))
    for layer in model.sublayers():
        if hasattr(layer, "_variance"):
            # A channel that hardly saw anything would enlarge what it sees in the next photo.
            variance = layer._variance.numpy()
            layer._variance.set_value(np.maximum(variance, 0.1 * variance.mean()))
    classifier = [layer for layer in model.sublayers() if isinstance(layer, paddle.nn.Linear)][-1]
    seen = []
    hook = classifier.register_forward_pre_hook(lambda _, inputs: seen.append(inputs[0].numpy()))
    computed(model, photos)
    hook.remove()
    features = np.concatenate(seen).astype(np.float64)
    centre = features.mean(axis=0)
    features -= centre
    gram = features @ features.T
    ridge = 0.1 * np.trace(gram) / len(gram) * np.eye(len(gram))
    weight = features.T @ np.linalg.solve(gram + ridge, wanted - wanted.mean(axis=0))
    # As after training: logits are neither tiny nor huge.
    weight *= 3 / (features @ weight).std()
    classifier.weight.set_value(weight.astype(np.float32))
    classifier.bias.set_value((-centre @ weight).astype(np.float32))


def computed(model: paddle.nn.Layer, photos: np.ndarray) -> np.ndarray:
    """Return the logits of the photos, float32 ``[N, C]``."""
    model.eval()
    with paddle.no_grad():
        parts = [model(paddle.to_tensor(photos[i : i + BATCH])).numpy() for i in range(0, len(photos), BATCH)]
    return np.concatenate(parts)


if __name__ == "__main__":
    _, network_name, count, weight_file, planes_file, answer_file, *rest = sys.argv
    main(network_name, int(count), weight_file, planes_file, answer_file, rest[0] if rest else None)
