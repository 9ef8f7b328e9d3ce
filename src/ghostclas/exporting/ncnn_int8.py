"""An ncnn network in int8: its convolutions and matrices, with a scale for each activation and each channel.

ncnn's own quantizer is a set of programs that no package carries, so this module does what they do, on the
files that pnnx writes: ``.param``, a line of text for each layer, and ``.bin``, the weights of the layers one
after the other. A layer that is quantized carries its weights as int8, then ``num_output`` scales of its
weights and one scale of its input, and says so by ``8=1`` (``8=2`` for a fully connected one). ncnn quantizes
its input, multiplies in int8, and goes back to float, so everything between such layers stays as it was.

Formats: ncnn's documents "param and model file structure" and "quantized int8 inference".
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from ghostclas.engines.ncnn import float_network
from ghostclas.exporting.conversion import Conversion
from ghostclas.extras import require

Float32 = NDArray[np.float32]

MAGIC = "7767517"
FLOAT, INT8 = b"\x00\x00\x00\x00", (0x000D4B38).to_bytes(4, "little")
LARGEST = 127

SCALE_TERM = 8
BIAS_TERM = {"Convolution": 5, "ConvolutionDepthWise": 5, "InnerProduct": 1}
WEIGHT_SIZE = {"Convolution": 6, "ConvolutionDepthWise": 6, "InnerProduct": 2}


@dataclass
class Layer:
    """A line of a ``.param`` file: ``head`` is all before the parameters, which are by number."""

    head: str
    kind: str
    inputs: Sequence[str]
    parameters: dict[int, str]
    weights: Float32 = field(default_factory=lambda: np.empty(0, np.float32))
    rest: bytes = b""

    @property
    def channels(self) -> int:
        """How many channels a layer with a matrix puts out."""
        return int(self.parameters[0])


def quantize_files(graph: Path, weights: Path, job: Conversion) -> None:
    """Make a float32 ncnn network int8, in place.

    Ranges are the largest magnitudes over the calibration photos.

    Raises:
        RuntimeError: the files are not as pnnx writes them, or ncnn cannot run them.
    """
    assert job.quantization is not None
    job.step("reading the ncnn network")
    header, layers = _read(graph, weights)
    names = _names(layers, job)
    kept = job.quantization.keep_float
    chosen = [
        layer
        for layer in layers
        if layer.kind in WEIGHT_SIZE and not any(part in f".{names.get(layer.head, '')}" for part in kept)
    ]
    job.step("measuring activations with ncnn")
    photos = np.load(job.quantization.calibration, mmap_mode="r")
    largest = _largest(graph, weights, sorted({layer.inputs[0] for layer in chosen}), photos)
    job.step("writing the ncnn network in int8")
    for layer in chosen:
        _quantize(layer, largest[layer.inputs[0]], per_channel=job.quantization.per_channel)
    lines = [
        " ".join([layer.head, *(f"{number}={value}" for number, value in layer.parameters.items())])
        for layer in layers
    ]
    graph.write_text("\n".join([*header, *lines]) + "\n", encoding="ascii")
    weights.write_bytes(b"".join(layer.rest for layer in layers))


def _read(graph: Path, weights: Path) -> tuple[list[str], list[Layer]]:
    magic, counts, *lines = graph.read_text(encoding="ascii").splitlines()
    if magic != MAGIC:
        raise RuntimeError(f"{graph.name} begins with {magic!r}, not {MAGIC}")
    layers = [_layer(line) for line in lines if line.strip()]
    stored, start = weights.read_bytes(), 0
    for layer in layers:
        end = start
        if layer.kind in WEIGHT_SIZE:
            size = int(layer.parameters[WEIGHT_SIZE[layer.kind]])
            biases = layer.channels if layer.parameters.get(BIAS_TERM[layer.kind], "0") != "0" else 0
            if stored[start : start + 4] != FLOAT:
                raise RuntimeError(f"the weights of {layer.head.split()[1]} are not float32")
            layer.weights = np.frombuffer(stored, "<f4", size, start + 4)
            end = start + 4 * (1 + size + biases)
        elif layer.kind == "MemoryData":
            sides = [int(layer.parameters.get(number, "0")) for number in range(3)]
            end = start + 4 * int(np.prod([side for side in sides if side]))
        layer.rest = stored[start:end]
        start = end
    if start != len(stored):
        raise RuntimeError(
            f"{weights.name} has {len(stored)} bytes, and {start} of them belong to a known layer"
        )
    return [magic, counts], layers


def _layer(line: str) -> Layer:
    words = line.split()
    kind, inputs, outputs = words[0], int(words[2]), int(words[3])
    end = 4 + inputs + outputs
    parameters = dict(word.split("=", 1) for word in words[end:])
    return Layer(
        " ".join(words[:end]), kind, words[4 : 4 + inputs], {int(k): value for k, value in parameters.items()}
    )


def _names(layers: Sequence[Layer], job: Conversion) -> Mapping[str, str]:
    """Return what each layer with weights is called in the network's state, found by its values."""
    state = {name: value.numpy().ravel() for name, value in job.network.model.state_dict().items()}
    return {
        layer.head: name
        for layer in layers
        for name, value in state.items()
        if layer.weights.size and np.array_equal(value, layer.weights)
    }


def _largest(graph: Path, weights: Path, blobs: Sequence[str], photos: NDArray[np.uint8]) -> dict[str, float]:
    """Return the largest magnitude of each blob over the photos."""
    ncnn = require("ncnn", extra="ncnn")
    network = float_network(ncnn, threads=1)
    if network.load_param(str(graph)) or network.load_model(str(weights)):
        raise RuntimeError("ncnn cannot load the network")
    (source,) = network.input_names()
    largest = dict.fromkeys(blobs, 0.0)
    for photo in photos:
        planes = np.ascontiguousarray(photo.transpose(2, 0, 1), dtype=np.float32)
        extractor = network.create_extractor()
        # In light mode a blob is gone as soon as it was used.
        extractor.set_light_mode(False)
        extractor.input(source, ncnn.Mat(planes))
        for blob in blobs:
            failed, values = extractor.extract(blob)
            if failed:
                raise RuntimeError(f"ncnn cannot compute {blob}")
            largest[blob] = max(largest[blob], float(np.abs(np.array(values)).max()))
    return largest


def _quantize(layer: Layer, largest: float, *, per_channel: bool) -> None:
    """Give a layer int8 weights and its scales, in ``rest`` and ``parameters``."""
    rows = layer.weights.reshape(layer.channels, -1)
    peaks = np.abs(rows).max(axis=1) if per_channel else np.full(len(rows), np.abs(rows).max())
    scales = np.where(peaks > 0, LARGEST / np.maximum(peaks, np.finfo(np.float32).tiny), 1).astype("<f4")
    whole = np.clip(np.rint(rows * scales[:, None]), -LARGEST, LARGEST).astype(np.int8).tobytes()
    padding = bytes(-len(whole) % 4)
    biases = layer.rest[4 * (1 + layer.weights.size) :]
    activation = np.array([LARGEST / largest if largest > 0 else 1], "<f4")
    layer.parameters[SCALE_TERM] = "2" if layer.kind == "InnerProduct" else "1"
    layer.rest = b"".join([INT8, whole, padding, biases, scales.tobytes(), activation.tobytes()])
