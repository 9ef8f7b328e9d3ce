"""The configuration of a training run: a frozen tree of settings, from a recipe and ``--set key=value``."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from reprlib import Repr
from typing import Annotated, Any, ClassVar, Literal, Self, get_args

from pydantic import BaseModel, Field, ValidationError, model_validator
from typing_extensions import TypeVar

from ghostclas.errors import UsageError, did_you_mean
from ghostclas.extras import require
from ghostclas.files import is_there, read_regular
from ghostclas.spec import (
    IMAGENET_MEAN,
    IMAGENET_STD,
    FlavourName,
    Fraction,
    Frozen,
    Interpolation,
    NonNegative,
    Positive,
    PreprocessSpec,
    ResizeSpec,
    Resolution,
    Triple,
)
from ghostclas.training.fitting import FITTED
from ghostclas.training.input.sampling import Balance
from ghostclas.training.input.transforms import AugmentConfig
from ghostclas.training.norms import FrozenNorms
from ghostclas.training.recipes import recipe_names, recipe_text

ConfigT = TypeVar("ConfigT", bound="TrainConfig", default="TrainConfig")

# Groups of settings that another room adds, with the command that takes them.
_ELSEWHERE = {"distil": "this recipe learns from a teacher: use ghostclas ssld --teacher ..."}


MAX_BATCH = 1_000_000
_LEAST_STD, _MOST = 0.001, 1000.0

MAX_RECIPE_BYTES = 100_000
"""The largest recipe that is read; those of this package have 2,000 bytes."""

_SHOWN_SIGNS = 200
_SHOWN_PROBLEMS = 8
_MOST_MINUTES = 1e9
_MAX_DEPTH = 16

OTHER_NAMES: Mapping[str, str] = {
    "learning_rate": "lr",
    "lr0": "lr",
    "base_lr": "lr",
    "batch": "batch_size",
    "bs": "batch_size",
    "epoch": "epochs",
    "num_epochs": "epochs",
    "max_epochs": "epochs",
    "size": "resolution",
    "imgsz": "resolution",
    "img_size": "resolution",
    "image_size": "resolution",
    "input_size": "resolution",
    "num_workers": "workers",
    "smoothing": "label_smoothing",
    "random_seed": "seed",
    "amp": "precision",
    "model": "name",
    "arch": "name",
}
"""Names that settings have elsewhere, with the last part of their names here; for hints only."""

# A recipe's warm-up and head epochs get at most this share of epochs that are chosen without them.
START_SHARE = 0.2


class ModelConfig(Frozen):
    """Which network, and the weights it starts from: ``default``, a bundle, a run, a file, a zoo name.

    ``fit_head`` starts a classifier that the weights lack from a logistic regression on the network's
    features, see ``training.probing``. ``freeze_statistics`` names the batch norms that normalise by the
    means and variances that the weights bring, and keep them: all, which a few images estimate badly, or
    those behind the global pooling, which see one value of each image (``training.norms``). ``int8`` trains
    and validates under the rounding of int8, see ``models.int8``.
    """

    name: str = "ghostnet_x1_0"
    flavour: FlavourName | None = None
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2
    weights: str | None = None
    fit_head: bool = False
    freeze_statistics: FrozenNorms = "none"
    int8: bool = False


class DataConfig(Frozen):
    """Where the images are and how they come. ``resolution`` is the side of a training view in pixels.

    ``progressive`` lists ``(fraction of the run, resolution)`` pairs that hold before ``resolution`` does:
    ``[[0.4, 96]]`` trains the first 40 % at 96, or at ``resolution`` where that is smaller.
    ``eval_resolution`` and ``eval_resize`` (short side before the crop) are those of validation and of the
    finished bundle. ``val_fraction`` of the images are set aside where there is no ``val`` part: by default a
    tenth, or a fifth of fewer than 500. ``mean`` and ``std`` are for pixels in [0, 1]. ``root`` and
    ``label_file`` are those of ``data.open_source``: what the paths in a list are relative to, and where
    class names are.
    """

    path: str
    root: str | None = None
    label_file: str | None = None
    resolution: Resolution = 224
    progressive: tuple[tuple[Fraction, Resolution], ...] = ()
    eval_resolution: Resolution | None = None
    eval_resize: Annotated[int, Field(ge=32, le=2048)] | None = None
    interpolation: Interpolation = "bilinear"
    val_fraction: Annotated[float, Field(gt=0, lt=1)] | None = None
    balance: Balance = "none"
    workers: Annotated[int, Field(ge=0, le=1024)] | None = None
    max_bad: Fraction = 0.01
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD

    @model_validator(mode="after")
    def _deployable(self) -> DataConfig:
        if not all(_LEAST_STD <= std <= _MOST for std in self.std):
            raise ValueError(f"data.std takes numbers from {_LEAST_STD} to {_MOST}, got {list(self.std)}")
        if not all(abs(mean) <= _MOST for mean in self.mean):
            raise ValueError(f"data.mean takes numbers from -{_MOST} to {_MOST}, got {list(self.mean)}")
        short_side, crop = self._sides()
        if short_side < crop:
            raise ValueError(f"data.eval_resize {short_side} is smaller than the resolution {crop}")
        return self

    def _sides(self) -> tuple[int, int]:
        """Return the short side before the crop of validation, and the side of the crop."""
        crop = self.eval_resolution or self.resolution
        return self.eval_resize or round(crop * 256 / 224), crop

    @property
    def preprocess(self) -> PreprocessSpec:
        """The preprocessing of validation and deployment."""
        short_side, crop = self._sides()
        return PreprocessSpec(
            resize=ResizeSpec(short_side=short_side, interpolation=self.interpolation),
            crop=crop,
            mean=self.mean,
            std=self.std,
        )

    @property
    def sides(self) -> frozenset[int]:
        """The resolutions of a run, in their order."""
        return frozenset({self.resolution, *(min(side, self.resolution) for _, side in self.progressive)})

    def resolution_at(self, progress: float) -> int:
        """Return the training resolution when the fraction ``progress`` of the run is over."""
        for until, resolution in self.progressive:
            if progress < until:
                return min(resolution, self.resolution)
        return self.resolution


class OptimizerConfig(Frozen):
    """``lr`` is for a global batch of ``lr_batch`` images and scales with the batch; ``null`` takes it as is.

    ``no_decay`` names the groups without weight decay. ``body_lr`` multiplies the rate of everything but the
    classifier, for weights that are already good.
    """

    name: Literal["sgd", "adamw"] = "sgd"
    lr: Annotated[float, Field(gt=0, le=1e6)] = 0.4
    lr_batch: Annotated[int, Field(ge=1, le=MAX_BATCH)] | None = 512
    momentum: Annotated[float, Field(ge=0, lt=1)] = 0.9
    nesterov: bool = True
    weight_decay: Annotated[float, Field(ge=0, le=1e6)] = 4e-5
    no_decay: tuple[Literal["norm", "bias"], ...] = ("norm", "bias")
    body_lr: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    clip_norm: Positive | None = None


class ScheduleConfig(Frozen):
    """Linear warm-up, then a half cosine to ``final_lr`` times the peak.

    The body is frozen for the first ``head_epochs``. A recipe's ``warmup_epochs`` and ``head_epochs`` are at
    most a fifth each of ``epochs`` that are chosen without them.
    """

    name: Literal["cosine"] = "cosine"
    epochs: Annotated[float, Field(gt=0, le=1e6)] = 30
    warmup_epochs: NonNegative = 1
    final_lr: Fraction = 0.0
    head_epochs: NonNegative = 0


class LoopConfig(Frozen):
    """How the loop runs. ``batch_size`` counts over all processes; ``accumulate`` splits it into that many
    micro-batches. ``ema`` is the decay of the average of the weights; without ``ema_warmup`` it holds from
    the first step on, see ``training.ema``. ``save_minutes`` is the time between checkpoints within an epoch.
    Every ``validate_every``-th epoch is validated, and always the last. On a CPU, ``keep_memory`` makes the
    process keep the memory that a step has freed for the next one, see ``training.memory``.
    """

    batch_size: Annotated[int, Field(ge=1, le=MAX_BATCH)] = 128
    accumulate: Annotated[int, Field(ge=1, le=MAX_BATCH)] = 1
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1
    ema: Annotated[float, Field(ge=0, lt=1)] = 0.999
    ema_warmup: bool = True
    precision: Literal["fp32", "bf16", "fp16"] = "fp32"
    device: Literal["auto", "cpu"] = "auto"
    compile: bool = False
    channels_last: bool = True
    sync_bn: bool = False
    seed: Annotated[int, Field(ge=0, lt=2**32)] = 0
    save_minutes: NonNegative = 5
    validate_every: Annotated[int, Field(ge=1)] = 1
    time: Annotated[float, Field(gt=0, description="minutes")] | None = None
    keep_memory: bool = True
    trackers: tuple[Literal["tensorboard", "wandb", "mlflow"], ...] = ()


class TrainConfig(Frozen):
    """One reproducible run.

    A room that trains in its own way derives its configuration from this one, with groups of its own.
    """

    renamed: ClassVar[Mapping[str, str]] = {}
    """Dotted keys of earlier versions, with their present names."""
    working: ClassVar[frozenset[str]] = frozenset()
    """Dotted keys of a room's own settings that change how a run works, not what it learns."""
    unrecorded: ClassVar[frozenset[str]] = frozenset()
    """Dotted keys that earlier versions did not write into a run: there they may be absent."""

    model: ModelConfig = ModelConfig()
    data: DataConfig
    augment: AugmentConfig = AugmentConfig()
    optimizer: OptimizerConfig = OptimizerConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    loop: LoopConfig = LoopConfig()

    @model_validator(mode="after")
    def _consistent(self) -> TrainConfig:
        if self.loop.batch_size % self.loop.accumulate:
            raise ValueError(
                f"loop.batch_size {self.loop.batch_size} is not a multiple of loop.accumulate "
                f"{self.loop.accumulate}"
            )
        return self

    def provenance(self) -> dict[str, Any]:
        """Return the settings for the provenance in a bundle, which may be published.

        Paths are left out. A file, a run or a bundle is given by the last part of its path.
        """
        places: dict[str, Any] = {"data": {"path", "root", "label_file"}}
        known: dict[str, Any] = {}
        if self.model.weights and is_there(self.model.weights):
            places["model"] = {"weights"}
            known["started_from"] = called(self.model.weights)
        return {"config": self.model_dump(mode="json", exclude=places), **known}

    def absolute(self) -> Self:
        """Return the same configuration with absolute paths, valid in every working directory."""
        data, model = self.data, self.model
        paths = {
            name: absolute_path(path)
            for name, path in (("path", data.path), ("root", data.root), ("label_file", data.label_file))
            if path is not None
        }
        weights = model.weights and absolute_model(model.weights)
        return self.model_copy(
            update={
                "data": data.model_copy(update=paths),
                "model": model.model_copy(update={"weights": weights}),
            }
        )


def called(model: str) -> str:
    """Return the part of a path that names the model."""
    path = Path(model)
    return path.parent.name if path.name == "bundle" else path.name


def absolute_path(path: str) -> str:
    """Return ``path`` as an absolute path; links stay links."""
    return os.path.abspath(path)  # noqa: PTH100 - Path.absolute leaves ".." in place


def absolute_model(word: str) -> str:
    """Return a word that names a model (see ``zoo.locate``); a path is made absolute."""
    return absolute_path(word) if word != "default" and is_there(word) else word


def resolve_config(
    recipe: str | None,
    settings: Iterable[str],
    defaults: Mapping[str, Any] | None = None,
    *,
    schema: type[ConfigT] = TrainConfig,  # type: ignore[assignment]
    images: int | None = None,
) -> ConfigT:
    """Return the configuration of ``recipe`` (a name or a YAML file) with ``key=value`` settings on top.

    ``defaults`` is a tree like the recipe's. It takes precedence over the recipe, and the settings over it.
    ``schema`` is the class of the configuration. A recipe of ``fitting.FITTED`` is fitted to this number of
    training ``images``, if it is known. With other epochs than the recipe's, its ``warmup_epochs``
    and ``head_epochs`` become at most a fifth of them each, unless they are given, too.

    Raises:
        UsageError: an unknown recipe or key (the nearest valid names are offered), or a value that does not
            fit.
    """
    tree = settings_tree(recipe, settings, defaults, schema=schema, images=images)
    return parse_config(tree, schema=schema)


def settings_tree(
    recipe: str | None,
    settings: Iterable[str],
    defaults: Mapping[str, Any] | None = None,
    *,
    schema: type[TrainConfig] = TrainConfig,
    images: int | None = None,
) -> dict[str, Any]:
    """Return the tree of plain values that ``resolve_config`` validates.

    Raises:
        UsageError: an unknown recipe, or a setting that is no ``key=value``.
    """
    tree = _with_new_names(_read_recipe(recipe), schema) if recipe else {}
    if recipe is not None and recipe in FITTED and images is not None:
        _merge(tree, FITTED[recipe](images))
    own_epochs = _schedule(tree).get("epochs")
    chosen: dict[str, Any] = {}
    for changes in (defaults or {}, *(_changes(setting, schema) for setting in settings)):
        _merge(tree, changes)
        _merge(chosen, changes)
    if recipe is not None and recipe in FITTED:
        _follow_size(tree, given=chosen)
    if _schedule(tree).get("epochs") != own_epochs:
        _shorten_start(tree["schedule"], given=_schedule(chosen))
    return tree


def _changes(setting: str, schema: type[TrainConfig]) -> dict[str, Any]:
    """Return the tree that a ``key=value`` spells out."""
    key, separator, text = setting.partition("=")
    if not separator or not re.fullmatch(r"\w+(\.\w+)*", key):
        raise UsageError(f"--set takes key=value, such as optimizer.lr=0.1; got {_shown(setting)}")
    if key.count(".") >= _MAX_DEPTH:
        raise UsageError(f"unknown setting {_shown(key)}; see docs/training.md")
    value = _yaml(text, f"--set {setting}")
    for part in reversed(key.split(".")):
        value = {part: value}
    return _with_new_names(value, schema)


def _schedule(tree: Mapping[str, Any]) -> dict[str, Any]:
    """Return the group ``schedule`` of a tree that nobody has checked yet."""
    group = tree.get("schedule")
    return group if isinstance(group, dict) else {}


def _follow_size(tree: dict[str, Any], *, given: Mapping[str, Any]) -> None:
    """Leave out the sizes at which the recipe's model works, where another size was chosen to train at."""
    size, chosen = tree.get("data"), given.get("data")
    if isinstance(size, dict) and isinstance(chosen, Mapping) and "resolution" in chosen:
        for name in {"eval_resolution", "eval_resize"} - chosen.keys():
            size.pop(name, None)


def _shorten_start(schedule: dict[str, Any], *, given: Mapping[str, Any]) -> None:
    """Limit the recipe's warm-up and head epochs to their share of the epochs that were chosen instead."""
    epochs = schedule["epochs"]
    if not isinstance(epochs, int | float):
        return
    for name in ("warmup_epochs", "head_epochs"):
        length = schedule.get(name, ScheduleConfig.model_fields[name].default)
        if name not in given and isinstance(length, int | float) and length > epochs * START_SHARE:
            schedule[name] = epochs * START_SHARE


def parse_config(tree: Mapping[str, Any], *, schema: type[ConfigT] = TrainConfig) -> ConfigT:  # type: ignore[assignment]
    """Return the configuration in ``tree``; see ``resolve_config`` for errors.

    A group that is null counts as absent.
    """
    given = {key: value for key, value in tree.items() if value is not None}
    try:
        return schema.model_validate(given)
    except ValidationError as error:
        problems = [_explain(problem, schema) for problem in error.errors()]
        if len(problems) > _SHOWN_PROBLEMS:
            problems[_SHOWN_PROBLEMS:] = [f"and {len(problems) - _SHOWN_PROBLEMS} more"]
        raise UsageError("\n       ".join(problems)) from None


def dump_config(config: TrainConfig) -> str:
    """Return ``config`` as the YAML document that ``resolve_config`` reads back."""
    text: str = require("yaml", extra="train").safe_dump(
        config.model_dump(mode="json"), sort_keys=False, default_flow_style=None, width=100
    )
    return text


def differences(a: TrainConfig, b: TrainConfig) -> list[str]:
    """Return ``key: value in a -> value in b`` for every setting that differs."""
    left, right = _flat(a.model_dump(mode="json")), _flat(b.model_dump(mode="json"))
    keys = dict.fromkeys([*left, *right])
    return [
        f"{key}: {left.get(key)!r} -> {right.get(key)!r}" for key in keys if left.get(key) != right.get(key)
    ]


def minutes(text: str) -> float:
    """Return the minutes in a duration such as ``90s``, ``30m``, ``1.5h``; a bare number is minutes.

    Raises:
        UsageError: it is none.
    """
    match = re.fullmatch(r"(\d+(?:\.\d+)?)\s*([smh]?)", text.strip())
    if not match or not 0 < float(match[1]) < _MOST_MINUTES:
        raise UsageError(f"a time is written like 90s, 30m or 2h; got {_shown(text)}")
    return float(match[1]) * {"s": 1 / 60, "m": 1, "": 1, "h": 60}[match[2]]


def _read_recipe(recipe: str) -> dict[str, Any]:
    if recipe in recipe_names():
        text = recipe_text(recipe)
    elif Path(recipe).suffix in (".yaml", ".yml"):
        try:
            text = read_regular(Path(recipe), MAX_RECIPE_BYTES).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise UsageError(f"cannot read the recipe {recipe}: {reason}") from None
    else:
        raise UsageError(
            f"no recipe is called {_shown(recipe)}{did_you_mean(_short(recipe), recipe_names())}; there are "
            f"{', '.join(recipe_names())}, or give a .yaml file"
        )
    tree = _yaml(text, f"the recipe {recipe}") or {}
    if not isinstance(tree, dict):
        raise UsageError(f"the recipe {recipe} is no mapping of settings, such as 'schedule: {{epochs: 10}}'")
    return tree


def _yaml(text: str, what: str) -> Any:
    yaml = require("yaml", extra="train")
    try:
        _check_tokens(yaml, text, what)
        return yaml.safe_load(text)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f" in line {mark.line + 1}, column {mark.column + 1}" if mark else ""
        problem = getattr(error, "problem", None) or "it cannot be read"
        raise UsageError(f"{_short(what)} is not valid YAML{where}: {_short(problem)}") from None
    # What stands for a number or a date and is none: 2020-13-45, and 5,000 digits.
    except (ArithmeticError, AttributeError, LookupError, TypeError, ValueError) as error:
        raise UsageError(f"{_short(what)} holds a value that is none: {_short(str(error))}") from None


def _check_tokens(yaml: Any, text: str, what: str) -> None:
    """Refuse a document that is small and stands for a tree of any size or depth."""
    depth = 0
    for token in yaml.scan(text, Loader=yaml.SafeLoader):
        if isinstance(token, yaml.AliasToken):
            raise UsageError(f"{_short(what)} uses an alias (*name); write the value itself")
        name = type(token).__name__
        depth += name.endswith(("SequenceStartToken", "MappingStartToken"))
        depth -= name.endswith(("SequenceEndToken", "MappingEndToken", "BlockEndToken"))
        if depth > _MAX_DEPTH:
            raise UsageError(f"{_short(what)} is nested too deeply")


def _short(text: str) -> str:
    return text if len(text) <= _SHOWN_SIGNS else f"{text[:_SHOWN_SIGNS]}..."


def _shown(value: Any) -> str:
    """Return ``repr(value)`` cut short, however large and deep it is."""
    shortener = Repr()
    shortener.maxlevel, shortener.maxstring, shortener.maxother = 3, _SHOWN_SIGNS, _SHOWN_SIGNS
    return shortener.repr(value)


def _merge(tree: dict[str, Any], changes: Mapping[str, Any]) -> None:
    for key, value in changes.items():
        if isinstance(value, Mapping) and isinstance(tree.get(key), dict):
            _merge(tree[key], value)
        else:
            tree[key] = dict(value) if isinstance(value, Mapping) else value


def _with_new_names(tree: dict[str, Any], schema: type[TrainConfig]) -> dict[str, Any]:
    """Return ``tree`` with the keys of earlier versions renamed."""
    for old, new in schema.renamed.items():
        group, _, name = old.rpartition(".")
        inside = tree
        for part in group.split("."):
            inside = inside.get(part) if isinstance(inside, dict) else None  # type: ignore[assignment]
        if isinstance(inside, dict) and name in inside:
            inside[new.rpartition(".")[2]] = inside.pop(name)
    return tree


def _flat(tree: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in tree.items():
        flat |= _flat(value, f"{prefix}{key}.") if isinstance(value, dict) else {prefix + key: value}
    return flat


def _explain(problem: Mapping[str, Any], schema: type[TrainConfig]) -> str:
    path = [str(part) for part in problem["loc"]]
    key = ".".join(path)
    if problem["type"] == "extra_forbidden":
        if key in _ELSEWHERE:
            return _ELSEWHERE[key]
        valid = _valid_keys(schema)
        return f"unknown setting {_shown(key)}{_nearest(key[:_SHOWN_SIGNS], valid)}; see docs/training.md"
    if problem["type"] == "missing":
        if key in ("data", "data.path"):
            return "there is nothing to train on: give --data FOLDER"
        return f"the setting {key!r} is needed and has no value"
    if problem["type"] == "model_type":
        inside = [known for known in _valid_keys(schema) if known.startswith(f"{key}.")]
        return f"{key} is a group of settings, such as {inside[0]}; got {_shown(problem['input'])}"
    if problem["type"] == "tuple_type":
        return f"{key} is a list, such as [{_short(str(problem['input']))}]; got {_shown(problem['input'])}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "value_error" and isinstance(problem["input"], Mapping):
        # Of a group as a whole: the message names the settings.
        return message
    return f"{key}: {message}, got {_shown(problem['input'])}" if key else message


def _nearest(key: str, valid: Sequence[str]) -> str:
    """Suggest the settings that end in ``key``, that have its name elsewhere, or that are spelled alike."""
    name = key.rpartition(".")[2]
    for word in (key, name, OTHER_NAMES.get(name, "")):
        inside = [known for known in valid if word and known.endswith(f".{word}")]
        if inside:
            return f"; did you mean {' or '.join(map(repr, inside))}?"
    return did_you_mean(key, valid)


def _valid_keys(model: type[BaseModel], prefix: str = "") -> list[str]:
    keys: list[str] = []
    for name, field in model.model_fields.items():
        kinds = [kind for kind in (field.annotation, *get_args(field.annotation)) if isinstance(kind, type)]
        group = next((kind for kind in kinds if issubclass(kind, BaseModel)), None)
        if group is not None:
            keys += _valid_keys(group, f"{prefix}{name}.")
        else:
            keys.append(prefix + name)
    return keys
