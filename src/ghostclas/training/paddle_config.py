"""A training configuration of PaddleClas as a recipe.

Every key is mapped, or named as having no counterpart here; a setting that would change what is trained and
has no counterpart is refused. Nothing in the file is evaluated.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from ghostclas.data.labels import read_label_file, read_lines
from ghostclas.data.listfile import SEPARATORS
from ghostclas.errors import DataError, GhostclasError
from ghostclas.exporting.paddle_preprocess import number, read_text, read_transforms
from ghostclas.extras import require
from ghostclas.files import is_file
from ghostclas.training.config import parse_config
from ghostclas.zoo import resolve_spec

_IGNORED: Mapping[str, str] = {
    "Global.checkpoints": "ghostclas train --output RUN --resume",
    "Global.output_dir": "ghostclas train --output RUN",
    "Global.save_interval": "checkpoints are kept all the time",
    "Global.eval_during_train": "every run validates",
    "Global.print_batch_step": "progress is shown all the time",
    "Global.use_visualdl": "loop.trackers",
    "Global.save_inference_dir": "ghostclas export",
    "Global.device": "loop.device, which is found by itself",
    "Global.to_static": "loop.compile",
    "AMP": "loop.precision",
    "Infer": "ghostclas predict",
    "Metric": "top-1 and top-5 are always measured",
    "Loss.Eval": "validation measures the cross-entropy",
    "DataLoader.Eval.sampler": "validation has a batch size of its own",
    "DataLoader.Eval.loader": "data.workers",
    "DataLoader.Eval.dataset.cls_label_path": "the split val of --data",
    "DataLoader.Eval.dataset.image_root": "data.root",
    "DataLoader.Train.loader": "data.workers",
    "DataLoader.Train.sampler.name": "loop",
    "DataLoader.Train.sampler.shuffle": "training always shuffles",
    "DataLoader.Train.sampler.drop_last": "the last batch is filled up",
}
"""Keys, or groups of them, that change nothing that is learned; what stands here in their place."""

_DATASETS = ("ImageNetDataset", "CommonDataset")
_MULTI_LABEL = re.compile(r"\t\d+(,\d+)+\s*$")


@dataclass
class Converted:
    """A recipe, and what became of each key of the file it was made of."""

    recipe: dict[str, dict[str, Any]] = field(default_factory=dict)
    mapped: dict[str, str] = field(default_factory=dict)
    without: dict[str, str] = field(default_factory=dict)

    def put(self, source: str, target: str, value: Any) -> None:
        """Set ``target``, such as ``optimizer.lr``, to what ``source`` says."""
        group, _, name = target.partition(".")
        self.recipe.setdefault(group, {})[name] = value
        self.mapped[source] = target


def convert_config(file: str | Path) -> Converted:
    """Read a classification YAML of PaddleClas.

    Raises:
        DataError: it cannot be read, or trains in a way that has no counterpart; the message names the key.
    """
    yaml = require("yaml", extra="train")
    try:
        document = yaml.safe_load(read_text(Path(file)))
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        problem = str(getattr(error, "problem", None) or error)[:120]
        raise DataError(f"{file} is not valid YAML: {problem}") from None
    if not isinstance(document, dict) or "Arch" not in document:
        raise DataError(f"{file} is no training configuration of PaddleClas: it has no Arch")
    try:
        return _converted(document, Path(file).parent)
    except (ValueError, GhostclasError) as error:
        raise DataError(f"{file}: {error}") from None


def _converted(document: Mapping[str, Any], folder: Path) -> Converted:
    made = Converted()
    leaves = dict(_leaves(document))
    _lists(leaves, made, folder)
    for key in leaves:
        if key in made.mapped or key in made.without:
            continue
        reason = next(
            (why for known, why in _IGNORED.items() if key == known or key.startswith(f"{known}.")), None
        )
        if reason is not None:
            made.without[key] = reason
    rest = {key: leaves[key] for key in leaves if key not in made.without and key not in made.mapped}
    _simple(rest, made)
    _optimizer(rest, made)
    _augmentation(rest, made)
    _evaluation(document, rest, made)
    if left := [key for key in rest if key not in made.mapped and key not in made.without]:
        raise ValueError(
            f"{left[0]} = {str(rest[left[0]])[:60]!r} has no counterpart and may change what is trained"
            + (f" (and {len(left) - 1} more keys)" if len(left) > 1 else "")
            + "; remove it from the file if it does not"
        )
    # What the file says has to be a configuration that runs; the data are named when it does.
    parse_config({**made.recipe, "data": {**made.recipe.get("data", {}), "path": "data"}})
    return made


def _leaves(value: Any, prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Yield every setting by its dotted key; operators in lists are part of it."""
    if isinstance(value, Mapping) and value:
        for key, inside in value.items():
            yield from _leaves(inside, f"{prefix}{key}.")
    elif isinstance(value, list) and value and all(isinstance(item, Mapping) for item in value):
        for item in value:
            yield from _leaves(item, prefix)
    else:
        yield prefix.rstrip("."), value


def _take(rest: Mapping[str, Any], made: Converted, source: str, target: str) -> Any:
    if source in rest and rest[source] is not None:
        made.put(source, target, rest[source])
        return rest[source]
    if source in rest:
        made.without[source] = "it is empty"
    return None


def _simple(rest: Mapping[str, Any], made: Converted) -> None:
    name = str(rest.get("Arch.name", "")).lower()
    resolve_spec(name)
    made.put("Arch.name", "model.name", name)
    for key in ("Arch.class_num", "Arch.pretrained", "Arch.use_ssld"):
        if key in rest:
            made.without[key] = "the classes of --data" if key == "Arch.class_num" else "model.weights"
    _take(rest, made, "Global.pretrained_model", "model.weights")
    _take(rest, made, "Global.epochs", "schedule.epochs")
    _take(rest, made, "Global.eval_interval", "loop.validate_every")
    _take(rest, made, "Global.seed", "loop.seed")
    if "DataLoader.Train.sampler.batch_size" in rest:
        # Theirs is for each of four cards, as their pages train; the rate is taken as it stands.
        _take(rest, made, "DataLoader.Train.sampler.batch_size", "loop.batch_size")
    if "Global.image_shape" in rest:
        shape = rest["Global.image_shape"]
        if not isinstance(shape, list) or len(shape) != 3 or shape[1] != shape[2]:
            raise ValueError(f"Global.image_shape is {shape}; only squares are trained")
        made.put("Global.image_shape", "data.resolution", shape[1])
    for source, target in (("cls_label_path", "data.path"), ("image_root", "data.root")):
        key = f"DataLoader.Train.dataset.{source}"
        if key in rest:
            made.without[key] = "--data LIST" if target == "data.path" else "--set data.root=FOLDER"
    for key in ("Loss.Train.CELoss.weight",):
        if key in rest:
            if number(rest[key], key) != 1:
                raise ValueError(f"{key} is {rest[key]}, which has no counterpart")
            made.without[key] = "the only loss"
    smoothing = rest.get("Loss.Train.CELoss.epsilon")
    made.recipe.setdefault("loop", {})["label_smoothing"] = 0.0
    if "Loss.Train.CELoss.epsilon" in rest:
        made.put("Loss.Train.CELoss.epsilon", "loop.label_smoothing", number(smoothing or 0, "epsilon"))
    made.recipe["loop"]["ema"] = 0.0
    for key in ("EMA.decay",):
        if key in rest:
            made.put(key, "loop.ema", number(rest[key], key))


def _lists(leaves: Mapping[str, Any], made: Converted, folder: Path) -> None:
    """Read what says how images are listed; lists and class maps are looked at where they are at hand."""
    for part in ("Train", "Eval"):
        prefix = f"DataLoader.{part}.dataset."
        for name, why in (
            ("name", "the format of --data is recognised"),
            ("delimiter", "it is found in the list"),
            ("relabel", "classes are numbered as in the list"),
        ):
            if prefix + name in leaves:
                made.without[prefix + name] = why
        name = leaves.get(f"{prefix}name", _DATASETS[0])
        if name not in _DATASETS:
            raise ValueError(f"{prefix}name is {name!r}, where one class an image is learned: {_DATASETS[0]}")
        delimiter = leaves.get(f"{prefix}delimiter")
        if delimiter is not None and delimiter not in SEPARATORS:
            raise ValueError(
                f"{prefix}delimiter is {delimiter!r}; there are: {', '.join(map(repr, SEPARATORS))}"
            )
        if leaves.get(f"{prefix}relabel"):
            raise ValueError(f"{prefix}relabel has no counterpart: number the classes from 0 in the list")
        listed = _at_hand(leaves.get(f"{prefix}cls_label_path"), folder)
        for place, line in enumerate(read_lines(listed) if listed else (), start=1):
            if _MULTI_LABEL.search(line):
                raise ValueError(
                    f"{prefix}cls_label_path is {listed}, whose line {place} has several labels; "
                    "one class an image is learned"
                )
    key = "Infer.PostProcess.class_id_map_file"
    if names := _at_hand(leaves.get(key), folder):
        read_label_file(names)
        made.put(key, "data.label_file", str(names))


def _at_hand(name: Any, folder: Path) -> Path | None:
    """Return a file that a configuration in ``folder`` names, from there or from here, if there is one."""
    if not isinstance(name, str) or not name:
        return None
    return next((path for path in (folder / name, Path(name)) if is_file(path)), None)


def _optimizer(rest: Mapping[str, Any], made: Converted) -> None:
    kinds = {"Momentum": "sgd", "AdamW": "adamw"}
    kind = rest.get("Optimizer.name")
    if kind not in kinds:
        raise ValueError(f"Optimizer.name is {kind!r}; there are: {', '.join(kinds)}")
    made.put("Optimizer.name", "optimizer.name", kinds[kind])
    schedule = rest.get("Optimizer.lr.name")
    if schedule != "Cosine":
        raise ValueError(f"Optimizer.lr.name is {schedule!r}; there is: Cosine")
    made.put("Optimizer.lr.name", "schedule.name", "cosine")
    for source, target in (
        ("Optimizer.lr.learning_rate", "optimizer.lr"),
        ("Optimizer.lr.warmup_epoch", "schedule.warmup_epochs"),
        ("Optimizer.momentum", "optimizer.momentum"),
        ("Optimizer.weight_decay", "optimizer.weight_decay"),
        ("Optimizer.regularizer.coeff", "optimizer.weight_decay"),
    ):
        if rest.get(source) is not None:
            made.put(source, target, number(rest[source], source))
    made.recipe["schedule"].setdefault("warmup_epochs", 0)
    if "Optimizer.regularizer.name" in rest:
        if rest["Optimizer.regularizer.name"] != "L2":
            raise ValueError(
                f"Optimizer.regularizer.name is {rest['Optimizer.regularizer.name']!r}; there is: L2"
            )
        made.without["Optimizer.regularizer.name"] = "optimizer.weight_decay"
    made.recipe["optimizer"] |= {"lr_batch": None, "nesterov": False, "no_decay": ["norm"]}
    if "Optimizer.use_nesterov" in rest:
        made.put("Optimizer.use_nesterov", "optimizer.nesterov", bool(rest["Optimizer.use_nesterov"]))


def _augmentation(rest: Mapping[str, Any], made: Converted) -> None:
    prefix = "DataLoader.Train.dataset.transform_ops."
    made.recipe["augment"] = {"crop_scale": [0.08, 1.0], "flip": 0.0}
    for key, value in rest.items():
        if not key.startswith(prefix):
            continue
        name = key.removeprefix(prefix)
        if name == "RandCropImage.size":
            made.put(key, "data.resolution", value if type(value) is int else int(value[0]))
        elif name == "RandCropImage.scale":
            made.put(key, "augment.crop_scale", value)
        elif name in ("RandFlipImage.flip_code", "RandFlipImage"):
            if value not in (1, None):
                raise ValueError(f"{key} is {value}, where photos are only mirrored left to right")
            made.put(key, "augment.flip", 0.5)
        elif name.partition(".")[0] in ("DecodeImage", "NormalizeImage", "ToCHWImage"):
            made.without[key] = "as in DataLoader.Eval, which is what is deployed"
        elif name in ("RandCropImage.interpolation", "RandCropImage.backend"):
            made.without[key] = "augment.interpolation; photos are scaled with antialiasing"


def _evaluation(document: Mapping[str, Any], rest: Mapping[str, Any], made: Converted) -> None:
    prefix = "DataLoader.Eval.dataset.transform_ops"
    keys = [key for key in rest if key.startswith(prefix)]
    if not keys:
        return
    steps = document["DataLoader"]["Eval"]["dataset"]["transform_ops"]
    spec = read_transforms([step for step in steps if isinstance(step, dict)])
    targets = {
        "ResizeImage": ("data.eval_resize", spec.resize.short_side),
        "CropImage": ("data.eval_resolution", spec.crop),
    }
    for key in keys:
        operator, _, name = key.removeprefix(f"{prefix}.").partition(".")
        if operator in targets and name in ("resize_short", "size"):
            made.put(key, *targets[operator])
        elif operator == "NormalizeImage" and name in ("mean", "std"):
            made.put(key, f"data.{name}", list(getattr(spec, name)))
        else:
            made.without[key] = "what every bundle does"
