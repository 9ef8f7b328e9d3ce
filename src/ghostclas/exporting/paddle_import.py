"""A classifier that PaddleClas exported, wrapped into a bundle without weights.

Paddle2ONNX converts the program, the softmax is cut off, and uint8 photos and the normalisation are put in
front. The reference comes from Paddle Inference itself: the logarithms of its probabilities, which are the
logits up to a constant that no softmax sees. The bundle is written only if ONNX Runtime answers alike.

What calls Paddle runs in a process of its own: ``python -m ghostclas.exporting.paddle_import JOB.json``.
"""

from __future__ import annotations

import json
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostclas import __version__
from ghostclas.bundle import REFERENCE, Bundle, FileContent, FileParity, check_target, write_bundle
from ghostclas.engines.paddle import import_paddle, open_predictor, run_predictor
from ghostclas.engines.paddle_files import (
    Program,
    check_operators,
    check_parameters,
    only_computes,
    read_files,
)
from ghostclas.errors import (
    BundleError,
    DataError,
    ExportError,
    GhostclasError,
    MissingExtraError,
    UsageError,
)
from ghostclas.exporting.conversion import INPUT, LOGITS, image_input, logits_output
from ghostclas.exporting.metadata import describe, described_onnx
from ghostclas.exporting.paddle2onnx import require_paddle2onnx, to_onnx
from ghostclas.exporting.paddle_legacy import normalised_planes
from ghostclas.exporting.paddle_preprocess import (
    InferenceConfig,
    read_class_map,
    read_config,
    read_labels,
    read_transforms,
)
from ghostclas.exporting.reference import draw_reference
from ghostclas.extras import require
from ghostclas.imaging import softmax
from ghostclas.spec import ModelSpec, PreprocessSpec
from ghostclas.verification import verify

FAMILY = "paddle"
CONFIGS = ("inference.yml", "inference_cls.yaml")
USUAL = [
    {"ResizeImage": {"resize_short": 256}},
    {"CropImage": {"size": 224}},
    {"NormalizeImage": {"scale": "1.0/255.0"}},
]
"""What PaddleClas' exports do where no file says it."""

TOLERANCE = 1e-4
_MODEL = "model.onnx"


def import_paddle_model(
    directory: str | Path,
    output: str | Path,
    *,
    labels: str | Path | None = None,
    config: str | Path | None = None,
) -> Bundle:
    """Write an exported classifier of PaddleClas as a bundle, and return it.

    Args:
        directory: the folder with ``inference.json`` or ``inference.pdmodel``, and ``inference.pdiparams``.
        output: the bundle to write; it replaces an existing one.
        labels: a list of class names; those that ``inference.yml`` has or names when absent.
        config: the preprocessing, in a file; ``inference.yml`` or ``inference_cls.yaml`` of the folder when
            absent, else what PaddleClas usually does.

    Raises:
        UsageError: a file is missing, or nothing names the classes.
        DataError: the preprocessing or the labels cannot be used, or the program is no classifier with one
            label a photo.
        ExportError: Paddle2ONNX failed, or its file answers differently.
        MissingExtraError: a package is not installed.
    """
    check_target(output)
    folder = Path(directory)
    program, parameters = _files(folder)
    try:
        outside, tensors = read_files(program, parameters)
        check_operators(outside, only_computes)
        check_parameters(outside, tensors)
    except ValueError as error:
        raise DataError(f"{folder} is refused and was not run: it holds {error}") from None
    except OSError as error:
        raise DataError(f"{folder}: {error.strerror}: {error.filename}") from None
    known, config_name = _config(folder, config)
    count = _check_ports(folder, outside, known.preprocess)
    classes = _classes(folder, count, known, labels)
    name = re.sub(r"[^\w.\-]+", "_", known.name or folder.name)[:100] or "imported"
    with tempfile.TemporaryDirectory(prefix="ghostclas-") as scratch:
        work = Path(scratch)
        reference, facts = _converted(folder, program, parameters, known.preprocess, work)
        files = {
            _MODEL: FileContent(
                described_onnx((work / _MODEL).read_bytes(), describe(classes, known.preprocess)),
                "onnx",
                "fp32",
                image_input(known.preprocess.crop),
                logits_output(count),
            ),
            REFERENCE: FileContent(reference, "reference"),
        }

        def write(target: str | Path, parity: tuple[FileParity, ...] = ()) -> Bundle:
            return write_bundle(
                target,
                name=name,
                spec=ModelSpec(name=name, family=FAMILY, num_classes=count),
                classes=classes,
                preprocess=known.preprocess,
                files=files,
                provenance={"imported_from": "paddle", "preprocessing": config_name, **facts},
                parity=parity,
            )

        try:
            report = verify(write(work / "bundle"), engines=("onnxruntime",), made_here=True)
        except BundleError as error:
            raise ExportError(f"the converted file cannot be used: {error}") from None
        return write(output, report.files)


def _files(folder: Path) -> tuple[Path, Path]:
    if not folder.is_dir():
        raise UsageError(f"{folder} is no folder with inference.json or inference.pdmodel")
    for suffix in (".json", ".pdmodel"):
        for program in sorted(folder.glob(f"*{suffix}")):
            parameters = program.with_suffix(".pdiparams")
            if parameters.is_file():
                return program, parameters
            if program.stem == "inference":
                raise UsageError(
                    f"{parameters} is missing: Paddle would answer with zeros; copy it there, too"
                )
    only = sorted(folder.glob("*.pdiparams"))
    what = f"{only[0]} is there, and its program is not" if only else f"{folder} holds no exported model"
    raise UsageError(
        f"{what}: give the folder with inference.json or inference.pdmodel and inference.pdiparams"
    )


def _config(folder: Path, config: str | Path | None) -> tuple[InferenceConfig, str]:
    if config is not None:
        return read_config(Path(config)), Path(config).name
    for name in CONFIGS:
        if (folder / name).is_file():
            return read_config(folder / name), name
    return InferenceConfig(read_transforms(USUAL), None, None), "PaddleClas' usual one"


def _check_ports(folder: Path, program: Program, preprocess: PreprocessSpec) -> int:
    """Return the number of classes of a program that takes photos and gives one number for each class."""
    if len(program.inputs) != 1 or len(program.outputs) != 1:
        raise DataError(
            f"{folder} has {len(program.inputs)} inputs and {len(program.outputs)} outputs; "
            "a classifier has one of each"
        )
    (photos,), (scores,) = program.inputs, program.outputs
    sides = photos.shape[1:]
    crop = preprocess.crop
    fits = len(sides) == 3 and all(
        have in (None, want) for have, want in zip(sides, (3, crop, crop), strict=True)
    )
    if photos.dtype != "float32" or not fits:
        raise DataError(
            f"{folder} takes {photos.dtype} {list(photos.shape)}, where its preprocessing gives "
            f"float32 [N, 3, {crop}, {crop}]"
        )
    count = scores.shape[1] if len(scores.shape) == 2 else None
    if scores.dtype != "float32" or count is None or count < 2:
        raise DataError(
            f"{folder} gives {scores.dtype} {list(scores.shape)}, where a classifier gives "
            "float32 [N, classes]"
        )
    return count


def _classes(folder: Path, count: int, known: InferenceConfig, labels: str | Path | None) -> tuple[str, ...]:
    if labels is not None:
        return read_labels(Path(labels), count)
    if known.labels is not None:
        if len(known.labels) != count:
            raise DataError(
                f"{folder}: its label_list names {len(known.labels)} classes, the model has {count}"
            )
        return known.labels
    if known.class_map is not None and known.class_map.file.is_file():
        return read_class_map(known.class_map, count)
    if count == 1000:
        from ghostclas.exporting.trained import imagenet_classes

        if names := imagenet_classes():
            return names
    what = (
        f"nothing in {folder} names its {count} classes"
        if known.class_map is None
        else f"{known.class_map.file}, which names the {count} classes, is missing: copy it there"
    )
    raise UsageError(f"{what}{', or' if known.class_map else ':'} give a list with --labels FILE")


def _converted(
    folder: Path, program: Path, parameters: Path, preprocess: PreprocessSpec, work: Path
) -> tuple[bytes, dict[str, str]]:
    """Convert in a process of its own; return the reference, and what is to be remembered."""
    job = {
        "program": str(program.resolve()),
        "parameters": str(parameters.resolve()),
        "preprocess": preprocess.model_dump(mode="json"),
    }
    (work / "job.json").write_text(json.dumps(job), encoding="utf-8")
    done = subprocess.run(  # noqa: S603 - our own worker
        [sys.executable, "-P", "-m", "ghostclas.exporting.paddle_import", str(work / "job.json")],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    outcome_file = work / "outcome.json"
    if not outcome_file.is_file():
        raise ExportError(f"{folder}: converting it ended the process (exit code {done.returncode})")
    outcome = json.loads(outcome_file.read_text(encoding="utf-8"))
    kinds: dict[str, type[GhostclasError]] = {
        kind.__name__: kind for kind in (DataError, ExportError, MissingExtraError)
    }
    if "error" in outcome:
        message = outcome["message"]
        kind = kinds.get(outcome["error"], ExportError)
        raise kind(message if kind is MissingExtraError else f"{folder}: {message}")
    return (work / "reference.safetensors").read_bytes(), outcome["facts"]


def main(job_file: Path) -> None:
    """Convert what the job names, and write the outcome beside it."""
    # Python treats such an entry as a module that cannot be imported.
    sys.modules["torch"] = None  # type: ignore[assignment]
    work = job_file.parent
    job = json.loads(job_file.read_text(encoding="utf-8"))
    try:
        outcome: dict[str, Any] = {"facts": _convert(job, work)}
    except Exception as error:  # toolchains raise any class
        said = " ".join(str(error).split())[:300]
        outcome = {"error": type(error).__name__, "message": said or type(error).__name__}
    (work / "outcome.json").write_text(json.dumps(outcome), encoding="utf-8")


def _convert(job: dict[str, Any], work: Path) -> dict[str, str]:
    onnx = require("onnx", extra="paddle")
    require_paddle2onnx()
    paddle = import_paddle()
    preprocess = PreprocessSpec.model_validate(job["preprocess"])
    program, parameters = Path(job["program"]), Path(job["parameters"])
    to_onnx(program, parameters, work / "plain.onnx")
    proto = onnx.load_model(work / "plain.onnx")
    had_softmax = _cut_softmax(proto.graph)
    _put_photos_in_front(onnx, proto, preprocess)
    onnx.checker.check_model(proto, full_check=True)
    (work / _MODEL).write_bytes(proto.SerializeToString(deterministic=True))
    ours = _session(work / _MODEL)
    reference = draw_reference(ours, preprocess)
    spread = np.ptp(reference.logits, axis=0).max()
    if not spread > TOLERANCE:
        raise DataError("the model gives the same answer for every photo: its parameters are damaged")
    predictor = open_predictor(paddle.inference, program, parameters, threads=1)
    theirs = run_predictor(predictor, normalised_planes(reference.pixels, preprocess))
    scores = theirs if had_softmax else softmax(theirs)
    difference = float(np.abs(softmax(reference.logits) - scores).max())
    if not difference <= TOLERANCE:
        raise ExportError(f"ONNX Runtime answers differently from Paddle, by up to {difference:.2g}")
    logits = theirs
    if had_softmax:
        with np.errstate(divide="ignore"):
            logarithms = np.log(theirs.astype(np.float64))
        # Where a probability is too small for a float32, the converted file has to be believed.
        logarithms = np.where(theirs > np.finfo(np.float32).tiny, logarithms, np.nan)
        shift = np.nanmean(reference.logits - logarithms, axis=1, keepdims=True)
        logits = np.where(np.isnan(logarithms), reference.logits, logarithms + shift).astype(np.float32)
    (work / "reference.safetensors").write_bytes(
        type(reference)(reference.jpegs, reference.pixels, logits).to_bytes()
    )
    return {"paddlepaddle": str(paddle.__version__), "ghostclas": __version__}


def _cut_softmax(graph: Any) -> bool:
    """Let the graph give logits; return whether it gave probabilities."""
    makers = {name: node for node in graph.node for name in node.output}
    (output,) = graph.output

    def behind_identities(name: str) -> str:
        while name in makers and makers[name].op_type == "Identity":
            name = makers[name].input[0]
        return name

    name = behind_identities(output.name)
    last = makers[name]
    if last.op_type == "Sigmoid":
        raise DataError("it ends in a sigmoid: models with several labels a photo are not imported")
    if last.op_type == "Softmax":
        name = behind_identities(last.input[0])
    # A trailing Identity that is named like the output confuses OpenVINO: the output is its source.
    source = makers[name]
    source.output[list(source.output).index(name)] = LOGITS
    for node in graph.node:
        if node is not source:
            node.input[:] = [LOGITS if value == name else value for value in node.input]
    wanted = {LOGITS}
    kept = []
    for node in reversed(graph.node):
        mine = node is source or (LOGITS not in node.output and wanted.intersection(node.output))
        if mine:
            wanted.update(node.input)
            kept.append(node)
    nodes = [type(node).FromString(node.SerializeToString()) for node in kept[::-1]]
    del graph.node[:]
    graph.node.extend(nodes)
    used = [tensor for tensor in graph.initializer if tensor.name in wanted]
    tensors = [type(tensor).FromString(tensor.SerializeToString()) for tensor in used]
    del graph.initializer[:]
    graph.initializer.extend(tensors)
    for index, node in enumerate(graph.node):
        # OpenVINO calls an output by its node, too.
        node.name = LOGITS if LOGITS in node.output else f"{node.op_type.lower()}_{index}"
    graph.ClearField("value_info")
    return bool(last.op_type == "Softmax")


def _put_photos_in_front(onnx: Any, proto: Any, preprocess: PreprocessSpec) -> None:
    """Let the graph take uint8 photos and normalise them."""
    graph, helper = proto.graph, onnx.helper
    planes = "planes.normalised"
    for node in graph.node:
        node.input[:] = [planes if name == INPUT else name for name in node.input]
    mean, std = (
        np.array(values, np.float32).reshape(1, 3, 1, 1) for values in (preprocess.mean, preprocess.std)
    )
    front = [
        helper.make_node("Transpose", [INPUT], ["planes"], perm=[0, 3, 1, 2]),
        helper.make_node("Cast", ["planes"], ["planes.float"], to=onnx.TensorProto.FLOAT),
        helper.make_node("Sub", ["planes.float", "mean"], ["planes.centred"]),
        helper.make_node("Mul", ["planes.centred", "scale"], [planes]),
    ]
    nodes = list(graph.node)
    del graph.node[:]
    graph.node.extend([*front, *nodes])
    for name, value in (("mean", 255 * mean), ("scale", 1 / (255 * std))):
        graph.initializer.append(onnx.numpy_helper.from_array(value.astype(np.float32), name))
    crop = preprocess.crop
    del graph.input[:]
    graph.input.append(helper.make_tensor_value_info(INPUT, onnx.TensorProto.UINT8, ["N", crop, crop, 3]))
    proto.producer_name, proto.producer_version = "ghostclas", __version__


def _session(file: Path) -> Any:
    import onnxruntime as ort

    options = ort.SessionOptions()
    options.log_severity_level = 4
    session = ort.InferenceSession(str(file), options, providers=["CPUExecutionProvider"])

    def logits(pixels: NDArray[np.uint8]) -> NDArray[np.float32]:
        return np.asarray(session.run([LOGITS], {INPUT: pixels})[0], np.float32)

    return logits


if __name__ == "__main__":
    main(Path(sys.argv[1]))
