"""One contestant of predict.py: it labels prepared pixels, or photos from files, on command.

    python predict_side.py NAME WORK THREADS WIDTH     waits for work on stdin
    python predict_side.py NAME WORK prepare WIDTH     writes what it needs for that width into WORK
    python predict_side.py NAME WORK cold PHOTO        labels one photo, as a program that just started

NAME is a key of ``SIDES``. Each line on stdin is a job, ``["pixels", BATCH, RUNS]``, ``["files", FOLDER,
BATCH]`` or ``["decode", FOLDER, COUNT]`` (``"draft"``: with the least work), and each answer a line that
begins with ``@``: the milliseconds of every run, or the seconds for the files. Every side uses GhostNet with
random weights for 1,000 classes at 224 x 224, except Ultralytics, which has none and uses its own smallest
classifier.
"""

from __future__ import annotations

import importlib.util
import json
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

SIZE, SHORT_SIDE, CLASSES = 224, 256, 1000
REST_SECONDS, WARMUP = 0.3, 5
WIDTHS = ("x0_5", "x1_0", "x1_3")
MEAN = np.array([0.485, 0.456, 0.406], np.float32)
STD = np.array([0.229, 0.224, 0.225], np.float32)
TIMM = {"x0_5": "ghostnet_050", "x1_0": "ghostnet_100", "x1_3": "ghostnet_130"}


def bundle_of(work: Path, width: str) -> Path:
    return work / f"ghostnet_{width}"


def decode(file: Path) -> np.ndarray:
    """The usual way: the whole photo, resized by its short side, then a centre crop."""
    from PIL import Image

    image = Image.open(file).convert("RGB")
    scale = SHORT_SIDE / min(image.size)
    width, height = (round(scale * side) for side in image.size)
    left, top = (width - SIZE) // 2, (height - SIZE) // 2
    resized = image.resize((width, height), Image.Resampling.BILINEAR)
    return np.asarray(resized.crop((left, top, left + SIZE, top + SIZE)))


def drafted(file: Path) -> np.ndarray:
    """The least work: scaled by the JPEG decoder, then resized to the network's input at once."""
    from PIL import Image

    image = Image.open(file)
    image.draft("RGB", (SHORT_SIDE, SHORT_SIDE))
    return np.asarray(image.convert("RGB").resize((SIZE, SIZE), Image.Resampling.BILINEAR))


def normalise(pixels: np.ndarray) -> np.ndarray:
    return ((pixels.astype(np.float32) / 255 - MEAN) / STD).transpose(0, 3, 1, 2)


def batches(folder: Path, batch: int, threads: int) -> Iterator[np.ndarray]:
    """Decode in a thread pool, one batch ahead of the network."""
    files = sorted(folder.iterdir())
    with ThreadPoolExecutor(threads) as pool:
        decoded = pool.map(decode, files)
        while rows := [row for _, row in zip(range(batch), decoded, strict=False)]:
            yield np.stack(rows)


class Side:
    """A contestant. ``network(feed(pixels))`` takes uint8 ``[N, 224, 224, 3]`` to logits. Only ``network`` is
    timed, so that normalisation outside the graph costs nothing. ``files`` labels a folder.
    """

    def __init__(self, work: Path, threads: int, width: str) -> None:
        self.work, self.threads, self.width = work, threads, width

    def feed(self, pixels: np.ndarray) -> Any:
        return pixels

    def network(self, fed: Any) -> Any:
        raise NotImplementedError

    def files(self, folder: Path, batch: int) -> None:
        for pixels in batches(folder, batch, self.threads):
            self.network(self.feed(pixels)).argmax(axis=1)

    def read(self, file: Path) -> np.ndarray:
        return decode(file)

    def cold(self, photo: Path) -> None:
        print(int(self.network(self.feed(decode(photo)[None])).argmax()))

    @staticmethod
    def prepare(work: Path, width: str) -> None:
        pass


class Ours(Side):
    engine, precision = "", "fp32"

    def __init__(self, work: Path, threads: int, width: str) -> None:
        super().__init__(work, threads, width)
        from ghostclas.bundle import Bundle
        from ghostclas.engines import open_engine
        from ghostclas.prediction import Classifier

        self.load = lambda batch: Classifier.load(
            bundle_of(work, width),
            engine=self.engine,
            precision=self.precision,
            threads=threads,
            batch_size=batch,
        )
        self.classifiers: dict[int, Any] = {}
        bundle = Bundle.open(bundle_of(work, width))
        self.spec = bundle.preprocess
        # A classifier gives every core its own photo; here all cores compute one.
        self.one = open_engine(self.engine, bundle, threads=threads, precision=self.precision)

    def network(self, fed: Any) -> Any:
        return self.one.run(fed)

    def read(self, file: Path) -> np.ndarray:
        from ghostclas.imaging import preprocess

        return preprocess(file, self.spec)

    def files(self, folder: Path, batch: int) -> None:
        from ghostclas.prediction import find_images

        if batch not in self.classifiers:
            self.classifiers[batch] = self.load(batch)
        for _ in self.classifiers[batch].stream(find_images([folder])):
            pass


class OursOnOnnxRuntime(Ours):
    engine = "onnxruntime"


class OursOnOpenVINO(Ours):
    engine = "openvino"


class OursInBf16(OursOnOpenVINO):
    precision = "bf16"


class OnnxRuntimeLoop(Side):
    def __init__(self, work: Path, threads: int, width: str) -> None:
        super().__init__(work, threads, width)
        import onnxruntime as ort

        options = ort.SessionOptions()
        options.intra_op_num_threads = threads
        file = bundle_of(work, width) / "model.onnx"
        self.session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def network(self, fed: Any) -> Any:
        return self.session.run(None, {"images": fed})[0]


class OpenVINOLoop(Side):
    def __init__(self, work: Path, threads: int, width: str) -> None:
        super().__init__(work, threads, width)
        import openvino as ov

        hints = {"INFERENCE_NUM_THREADS": threads, "PERFORMANCE_HINT": "LATENCY"}
        hints["INFERENCE_PRECISION_HINT"] = "f32"
        core = ov.Core()
        self.model = core.compile_model(core.read_model(bundle_of(work, width) / "model.onnx"), "CPU", hints)

    def network(self, fed: Any) -> Any:
        return self.model(fed)[0]


class TimmEager(Side):
    compiled = False

    def __init__(self, work: Path, threads: int, width: str) -> None:
        super().__init__(work, threads, width)
        import timm
        import torch

        torch.set_num_threads(threads)
        self.torch = torch
        model = timm.create_model(TIMM[width]).eval().to(memory_format=torch.channels_last)
        self.model = torch.compile(model) if self.compiled else model

    def feed(self, pixels: np.ndarray) -> Any:
        torch = self.torch
        return torch.from_numpy(normalise(pixels)).contiguous(memory_format=torch.channels_last)

    def network(self, fed: Any) -> Any:
        with self.torch.inference_mode():
            return self.model(fed).numpy()


class TimmCompiled(TimmEager):
    compiled = True


class Paddle(Side):
    """PaddleClas' network on Paddle Inference with oneDNN, what PaddleClas' own predictor runs."""

    onednn = True

    def __init__(self, work: Path, threads: int, width: str) -> None:
        super().__init__(work, threads, width)
        from paddle import inference

        stem = work / "paddle" / width
        graph = next(path for end in (".json", ".pdmodel") if (path := stem.with_suffix(end)).exists())
        config = inference.Config(str(graph), str(stem.with_suffix(".pdiparams")))
        config.disable_gpu()
        config.disable_glog_info()
        if self.onednn:
            config.enable_mkldnn()
        config.set_cpu_math_library_num_threads(threads)
        config.switch_ir_optim(True)
        # Both are needed to optimise the memory of a network saved as .json.
        config.enable_new_executor(True)
        config.enable_new_ir(True)
        config.enable_memory_optim()
        self.predictor = inference.create_predictor(config)
        (name,) = self.predictor.get_input_names()
        (result,) = self.predictor.get_output_names()
        self.input = self.predictor.get_input_handle(name)
        self.output = self.predictor.get_output_handle(result)

    def feed(self, pixels: np.ndarray) -> Any:
        return np.ascontiguousarray(normalise(pixels))

    def network(self, fed: Any) -> Any:
        self.input.reshape(fed.shape)
        self.input.copy_from_cpu(fed)
        self.predictor.run()
        return self.output.copy_to_cpu()

    @staticmethod
    def prepare(work: Path, width: str) -> None:
        # The names of Paddle's parameters belong to the process: it can hold one such network.
        import paddle

        spec = importlib.util.find_spec("paddleclas")
        assert spec
        assert spec.origin
        # PaddleClas imports its own package as `ppcls` from inside its folder.
        sys.path.insert(0, str(Path(spec.origin).parent))
        from ppcls.arch.backbone.model_zoo import ghostnet

        paddle.seed(0)
        network = getattr(ghostnet, f"GhostNet_{width}")(class_num=CLASSES)
        network.eval()
        images = paddle.static.InputSpec([None, 3, SIZE, SIZE], "float32", "images")
        paddle.jit.save(network, str(work / "paddle" / width), input_spec=[images])


class PaddleWithoutOneDNN(Paddle):
    """The same without oneDNN."""

    onednn = False


class Ultralytics(Side):
    """``yolo classify predict`` with its smallest classifier; width and threads are its own."""

    def __init__(self, work: Path, threads: int, width: str) -> None:
        super().__init__(work, threads, width)
        import torch
        from ultralytics import YOLO

        torch.set_num_threads(threads)
        self.model = YOLO(str(work / "ultralytics.pt"), task="classify")

    def files(self, folder: Path, batch: int) -> None:
        for _ in self.model.predict(str(folder), imgsz=SIZE, batch=batch, stream=True, verbose=False):
            pass

    def cold(self, photo: Path) -> None:
        print(int(self.model.predict(str(photo), imgsz=SIZE, verbose=False)[0].probs.top1))

    @staticmethod
    def prepare(work: Path, width: str) -> None:
        from ultralytics import YOLO

        YOLO("yolo11n-cls.yaml", task="classify").save(str(work / "ultralytics.pt"))


SIDES: dict[str, type[Side]] = {
    "ghostclas_onnxruntime": OursOnOnnxRuntime,
    "ghostclas_openvino": OursOnOpenVINO,
    "ghostclas_bf16": OursInBf16,
    "onnxruntime_loop": OnnxRuntimeLoop,
    "openvino_loop": OpenVINOLoop,
    "timm_eager": TimmEager,
    "timm_compiled": TimmCompiled,
    "paddle": Paddle,
    "paddle_plain": PaddleWithoutOneDNN,
    "ultralytics": Ultralytics,
}


def answer(value: object) -> None:
    print(f"@{json.dumps(value)}", flush=True)


def timed(call: Callable[[], object]) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def read_all(read: Callable[[Path], object], files: Sequence[Path]) -> None:
    for file in files:
        read(file)


def serve(side: Side, jobs: Iterator[Sequence[Any]]) -> None:
    photos = np.random.default_rng(0).integers(0, 256, (32, SIZE, SIZE, 3), np.uint8)
    answer("ready")
    for kind, *rest in jobs:
        if kind == "files":
            folder, batch = rest
            answer(timed(partial(side.files, Path(folder), batch)))
        elif kind in ("decode", "draft"):
            folder, count = rest
            read = drafted if kind == "draft" else side.read
            files = sorted(Path(folder).iterdir())[:count]
            time.sleep(REST_SECONDS)
            answer(timed(partial(read_all, read, files)))
        else:
            batch, runs = rest
            fed = side.feed(photos[:batch])
            # The threads of the previous contestant may still spin for a while.
            time.sleep(REST_SECONDS)
            for _ in range(WARMUP):
                side.network(fed)
            answer([1000 * timed(partial(side.network, fed)) for _ in range(runs)])


def main(name: str, work: Path, what: str, last: str = "") -> None:
    side = SIDES[name]
    if what == "prepare":
        side.prepare(work, last)
    elif what == "cold":
        side(work, 2, "x1_0").cold(Path(last))
    else:
        serve(side(work, int(what), last), map(json.loads, sys.stdin))


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]), *sys.argv[3:])
