"""One training run from its configuration to its bundle."""

from __future__ import annotations

import multiprocessing
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, set_seed
from torch import nn

from ghostclas import zoo
from ghostclas.bundle import Bundle, default_bundle_path, record_metric
from ghostclas.data import Splits, open_splits
from ghostclas.data.source import Source
from ghostclas.errors import TrainingError, UsageError, command_line, refuse_url
from ghostclas.evaluation import (
    Evaluation,
    dataset_name,
    evaluate,
    fit_unknown,
    store_temperature,
    store_unknown,
    write_report,
)
from ghostclas.evaluation.calibration import calibrate
from ghostclas.exporting.onnx import export_bundle, made_now
from ghostclas.extras import require
from ghostclas.files import is_there
from ghostclas.loading import load_weights
from ghostclas.models import create_model
from ghostclas.models.cpu import speed_up
from ghostclas.models.int8 import simulate_int8
from ghostclas.pages.notebook import html_table
from ghostclas.prediction import Classifier
from ghostclas.processor import usable_cores
from ghostclas.progress import ProgressLine
from ghostclas.spec import Metric, ModelSpec
from ghostclas.training.checkpoint import read_checkpoint
from ghostclas.training.config import ModelConfig, TrainConfig, minutes, resolve_config
from ghostclas.training.curves import draw_curves
from ghostclas.training.history import learned
from ghostclas.training.loop import Trainer, check_batch
from ghostclas.training.memory import keep_freed_memory
from ghostclas.training.objective import ObjectiveFactory, RunContext
from ghostclas.training.resumption import DataRecord, Resume
from ghostclas.training.rundir import RunDirectory, choose_run

DEFAULT_RECIPE, SMALL_RECIPE = "scratch", "finetune"
# Up to this many images, pretrained weights are worth more than a longer run.
SMALL_DATA = 20_000
# From this many validation images on, a run stores the temperature that makes its scores honest.
CALIBRATION_IMAGES = 500
# A threshold that no one asked for may turn this share of the right answers into unknown photos.
UNKNOWN_COST = 0.01
PRECISION = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


@dataclass(frozen=True, repr=False)
class Run:
    """A finished run. ``top1`` and ``top5`` are percentages on ``val``, of the bundle itself."""

    path: Path
    bundle: Path
    epochs: int
    top1: float
    top5: float | None
    bad_images: int
    report: Path | None = None

    @property
    def metrics(self) -> Mapping[str, float]:
        """Accuracies on ``val`` in percent: ``top1``, and ``top5`` where there are more than five classes."""
        return {"top1": self.top1, **({} if self.top5 is None else {"top5": self.top5})}

    @cached_property
    def classifier(self) -> Classifier:
        """The run's bundle, opened for prediction the first time that it is asked for."""
        return Classifier.load(self.bundle)

    def __fspath__(self) -> str:
        """Return the run directory: a run can stand wherever a model is named."""
        return str(self.path)

    def __repr__(self) -> str:
        top5 = "" if self.top5 is None else f", top-5 {self.top5:.2f} %"
        return f"<Run {self.path}: top-1 {self.top1:.2f} %{top5} after {self.epochs} epochs>"

    def _repr_html_(self) -> str:
        """Show the run in a notebook."""
        figures = {name.replace("top", "top-"): f"{value:.2f} %" for name, value in self.metrics.items()}
        return html_table(
            str(self.path),
            {
                **figures,
                "epochs": str(self.epochs),
                "bundle": str(self.bundle),
                "report": str((self.report or self.path / "report") / "index.html"),
            },
        )

    def as_dict(self) -> dict[str, Any]:
        """Return the run as plain values, for JSON."""
        return {
            **asdict(self),
            "path": str(self.path),
            "bundle": str(self.bundle),
            "report": str(self.report or self.path / "report"),
        }

    def summary(self) -> str:
        """Return what a person wants to know, in a few lines."""
        top5 = f", top-5 {self.top5:.2f} %" if self.top5 is not None else ""
        lines = [
            f"top-1 {self.top1:.2f} %{top5} on val after {self.epochs} epochs",
            f"bundle: {self.bundle}",
            f"report: {(self.report or self.path / 'report') / 'index.html'}",
        ]
        if self.bad_images:
            lines.append(f"{self.bad_images} unreadable images skipped: {self.path / 'bad_images.txt'}")
        return "\n".join(lines)


def train(
    data: str | Path | Mapping[str, Any] | None = None,
    *,
    network: str | None = None,
    weights: str | Path | None = None,
    recipe: str | Path | None = None,
    epochs: float | None = None,
    size: int | None = None,
    batch_size: int | None = None,
    lr: float | None = None,
    settings: Iterable[str] | str = (),
    time: str | None = None,
    output: str | Path | None = None,
    resume: Resume = False,
    config: TrainConfig | None = None,
    splits: Splits | None = None,
    objective: ObjectiveFactory | None = None,
    verb: Sequence[str] | None = ("ghostclas", "train"),
    quiet: bool = True,
    keep_processes: bool = False,
    **overrides: Any,
) -> Run:
    """Train a classifier on labelled images and return its run.

    Args:
        data: an image folder or archive; see ``ghostclas.data.open_splits``. Or the settings of the group
            ``data``, with ``path`` among them.
        network: a name such as ``ghostnet_x1_0`` or ``ghostnet_x0_75``; the recipe's when absent. The setting
            ``model.name``.
        weights: what to start from: ``default``, a bundle, a run, a file or a zoo name. The setting
            ``model.weights``.
        recipe: one of ``ghostclas.training.recipes.recipe_names()`` or a YAML file. When absent, ``finetune``
            for up to 20,000 images and the network of the built-in model, else ``scratch``.
        epochs: the setting ``schedule.epochs``. The recipe's warm-up, and its epochs of the classifier alone,
            then become at most a fifth of it each, unless they are given, too.
        size: side of a training view in pixels; the setting ``data.resolution``.
        batch_size: images a step, over all processes; the setting ``loop.batch_size``.
        lr: the setting ``optimizer.lr``.
        settings: ``"key=value"`` strings that win over all of these, or one of them.
        time: end within this time, such as ``"30m"``; the same as the setting ``loop.time``.
        output: the run directory; ``runs/<data>-<network>`` when absent.
        resume: continue the run in ``output``, or the newest of that name. What is not given is as it was.
            ``"auto"`` continues a run that is there and starts one that is not.
        config: a complete configuration, instead of all other settings but ``output`` and ``resume``.
        splits: the images, where they are open already; ``train`` may have more than ``data`` holds.
        objective: builds what the steps minimise; the labels' cross-entropy when absent.
        verb: the command that continues such a run, which a person who stops it is told; ``None`` where the
            caller tells it.
        quiet: no progress on stderr.
        keep_processes: leave the group of processes as it is, for another run in the same ones.
        overrides: groups of settings that win over the recipe: ``optimizer={"momentum": 0.8}``. ``model`` may
            also be a network's name, as before there was ``network``.

    Raises:
        UsageError: a setting, name or directory that does not fit.
        DataError: images that cannot be used.
        TrainingError: the run cannot go on, or its images are not those that it was started with.
    """
    _refuse_to_train_while_importing()
    given: dict[str, Any] = dict(overrides)
    if data is not None:
        group = dict(data) if isinstance(data, Mapping) else {"path": data}
        if "path" in group:
            refuse_url(str(group["path"]))
            # A folder is the same with and without a slash behind it.
            group["path"] = str(Path(group["path"]))
        given["data"] = group
    if isinstance(given.get("model"), str):
        warnings.warn("train(model=NAME) is now train(network=NAME)", DeprecationWarning, stacklevel=2)
        given["model"] = {"name": given["model"]}
    short = {
        ("model", "name"): network,
        ("model", "weights"): weights if weights is None else str(weights),
        ("schedule", "epochs"): epochs,
        ("data", "resolution"): size,
        ("loop", "batch_size"): batch_size,
        ("optimizer", "lr"): lr,
        ("loop", "time"): time if time is None else minutes(time),
    }
    for (group_name, key), value in short.items():
        if value is not None:
            given[group_name] = {**dict(given.get(group_name, {})), key: value}
    settings = (settings,) if isinstance(settings, str) else tuple(settings)
    stopped = output is not None and is_there(Path(output, "config.yaml"))
    if resume and recipe is None and stopped:
        recipe = Path(str(output), "config.yaml")
    elif resume and output is not None and not stopped and data is None and config is None:
        raise UsageError(f"{output} holds no run to resume; to start one there, give --data FOLDER, too")
    chosen = config is not None or recipe is not None
    config = config or resolve_config(str(recipe or DEFAULT_RECIPE), settings, given)
    config = config.absolute()
    spec = zoo.resolve_spec(config.model.name)
    if config.model.weights:
        # A mistake is told now, and not after the images were listed.
        zoo.locate(config.model.weights)
    splits = splits or splits_of(config)
    if (
        not chosen
        and len(splits.train.samples) <= SMALL_DATA
        and _has_weights_to_start_from(config.model, spec)
    ):
        config = resolve_config(SMALL_RECIPE, settings, given).absolute()
    path, continued = run_path(config, output, resume=resume)
    accelerator = _accelerator(config, path)
    check_batch(config.loop, len(splits.train.samples), world=accelerator.num_processes)
    run = RunDirectory(path)
    progress = ProgressLine(enabled=accelerator.is_main_process and not quiet)
    if config.loop.keep_memory and accelerator.device.type == "cpu":
        keep_freed_memory()
    try:
        notes = splits.notes
        if accelerator.is_main_process:
            notes += run.open(config, DataRecord.of(splits), resume=continued)
        accelerator.wait_for_everyone()
        for note in notes:
            progress.say(note)
        return _train(config, spec, splits, objective, accelerator, run, progress)
    except KeyboardInterrupt:
        if verb:
            progress.say(how_to_continue(verb, run.path))
        raise
    finally:
        if keep_processes:
            for tracker in accelerator.trackers:
                tracker.finish()
        else:
            accelerator.end_training()
        run.close()


def splits_of(config: TrainConfig) -> Splits:
    """Open the images to learn from and to measure on."""
    return open_splits(
        config.data.path,
        val_fraction=config.data.val_fraction,
        seed=config.loop.seed,
        root=config.data.root,
        label_file=config.data.label_file,
    )


def _train(
    config: TrainConfig,
    published: ModelSpec,
    splits: Splits,
    objective: ObjectiveFactory | None,
    accelerator: Accelerator,
    run: RunDirectory,
    progress: ProgressLine,
) -> Run:
    train_source, val_source = splits.train, splits.val
    workers = worker_count(config, accelerator.num_processes)
    built = objective(RunContext(accelerator, workers, progress.say)) if objective else None
    set_seed(config.loop.seed)
    spec = published.model_copy(
        update={
            "flavour": config.model.flavour or published.flavour,
            "num_classes": len(train_source.classes),
            "dropout": config.model.dropout,
        }
    )
    network = create_model(spec)
    _load_initial(network, config.model)
    if config.model.int8:
        simulate_int8(network)
    if accelerator.device.type == "cpu":
        speed_up(network, compiled=config.loop.compile)
    trainer = Trainer(config, network, train_source, val_source, accelerator, run, progress, workers, built)
    progress.say(
        f"{spec.name} from {config.model.weights or 'random'} weights, {len(train_source.classes)} classes, "
        f"{len(train_source.samples)} images to train on, "
        f"{len(val_source.samples)} to validate; {accelerator.device}, {config.loop.precision}; {run.path}"
    )
    progress.say(_course(config))
    if trainer.restore():
        progress.say(f"resuming at step {trainer.position.step} of {trainer.total_steps}")
    accelerator.init_trackers("ghostclas")
    trainer.fit()
    accelerator.wait_for_everyone()
    if accelerator.is_main_process:
        device, bad = _device_name(accelerator), len(trainer.bad)
        metric = _finish(spec, train_source, val_source, config, run, progress.say, device, bad)
        entries = run.entries()
        return Run(run.path, run.bundle, len(entries), metric.top1, metric.top5, len(trainer.bad))
    return Run(run.path, run.bundle, 0, 0.0, None, len(trainer.bad))


def _finish(
    spec: ModelSpec,
    train_source: Source,
    val_source: Source,
    config: TrainConfig,
    run: RunDirectory,
    say: Callable[[str], None],
    device: str = "cpu",
    bad_images: int = 0,
) -> Metric:
    """Export the averaged weights of the best epoch, evaluate the bundle, and record the result."""
    best = _load_best(run)
    network = create_model(spec)
    network.load_state_dict(best["ema"])
    bundle = export_bundle(
        network.eval(),
        spec,
        train_source.classes,
        config.data.preprocess,
        run.bundle,
        provenance={
            "trained_on": Path(config.data.path).name,
            "images": len(train_source.samples),
            "epoch": best["epoch"],
            "trained": made_now(),
            **config.provenance(),
        },
    )
    draw_curves(run.entries(), run.curves, val_images=len(val_source.samples))
    with Classifier.load(bundle.path) as classifier:
        evaluation = calibrated(bundle, evaluate(classifier, val_source), say)
        evaluation = with_unknown(bundle, evaluation, say)
    metric = evaluation.metric(dataset_name(config.data.path, val_source))
    record_metric(bundle, metric)
    write_report(
        evaluation,
        run.report,
        learned=learned(
            run.entries(),
            config,
            train_images=len(train_source.samples),
            val_images=len(val_source.samples),
            device=device,
            bad_images=bad_images,
        ),
        bundle=bundle,
    )
    return metric


def calibrated(bundle: Bundle, evaluation: Evaluation, say: Callable[[str], None]) -> Evaluation:
    """Fit the temperature on one half of the images, and store it if it improves the other half.

    With fewer than ``CALIBRATION_IMAGES``, or if the other half does not improve, the bundle stays as it is.
    The accuracy stays the same in any case.

    Returns:
        The evaluation at the temperature that the bundle has now.
    """
    fitted = evaluation.fitted
    helps = fitted.determined and fitted.after.nll < fitted.before.nll
    if evaluation.images < CALIBRATION_IMAGES or not helps:
        return evaluation
    store_temperature(bundle, fitted)
    say(
        f"temperature {fitted.temperature:.4g} stored: calibration error from {100 * fitted.before.ece:.2f} "
        f"to {100 * fitted.after.ece:.2f} % on {fitted.held_out:,} images that it was not fitted on"
    )
    calibration = calibrate(evaluation.logits, evaluation.labels, fitted.temperature)
    return replace(evaluation, calibration=calibration)


def _device_name(accelerator: Accelerator) -> str:
    """Return what a person calls the device: the name of a GPU, or ``cpu``; with the number of processes."""
    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{accelerator.num_processes} x {name}" if accelerator.num_processes > 1 else name


def with_unknown(bundle: Bundle, evaluation: Evaluation, say: Callable[[str], None]) -> Evaluation:
    """Store the score below which a photo is unknown, if it costs at most ``UNKNOWN_COST`` of right answers.

    Where too few validation images are right to tell, no photo is unknown.

    Returns:
        The evaluation with the threshold that the bundle has now.
    """
    fit = fit_unknown(evaluation.confidence, evaluation.predicted == evaluation.labels, cost=UNKNOWN_COST)
    if not fit.determined:
        return evaluation
    store_unknown(bundle, fit)
    say(
        f"a photo is unknown below {fit.threshold:g}: so are {fit.right_unknown:,} of {fit.right:,} right "
        f"and {fit.wrong_unknown:,} of {fit.wrong:,} wrong answers"
    )
    return replace(evaluation, unknown_below=fit.threshold)


def _load_best(run: RunDirectory) -> dict[str, Any]:
    try:
        best = read_checkpoint(run.best)
    except TrainingError as error:
        raise TrainingError(
            f"the weights of the best epoch, {run.best}, cannot be read ({error})\n"
            "       remove the file and continue with --resume: the last epoch's weights are exported instead"
        ) from error
    return best


def _course(config: TrainConfig) -> str:
    """Say how long the run is, and what of it is its start."""
    schedule = config.schedule
    start = [f"warm-up in the first {schedule.warmup_epochs:g}"] if schedule.warmup_epochs else []
    if schedule.head_epochs:
        start.append(f"the classifier alone in the first {schedule.head_epochs:g}")
    limit = f" in at most {config.loop.time:g} minutes" if config.loop.time else ""
    return f"epochs: {', '.join([f'{schedule.epochs:g}{limit}', *start])}"


def how_to_continue(verb: Sequence[str], path: Path) -> str:
    """Return the sentence that tells a person how to go on with the stopped run in ``path``."""
    command = command_line(*verb, "--output", str(path), "--resume")
    return f"stopped; the last checkpoint is kept. To go on: {command}"


def _refuse_to_train_while_importing() -> None:
    """Refuse to train in a spawned process: it has imported a script without a main guard.

    Raises:
        TrainingError: this process was spawned.
    """
    if getattr(multiprocessing.current_process(), "_inheriting", False):
        raise TrainingError(
            "the script that trains is imported again by each loader process, and must not train then\n"
            '       put the call of ghostclas.train under a line  if __name__ == "__main__":'
        )


def _has_weights_to_start_from(config: ModelConfig, spec: ModelSpec) -> bool:
    """Whether a network of ``spec`` starts from given weights, or may start from the built-in model's."""
    built_in = Bundle.open(default_bundle_path()).manifest.spec
    flavour = config.flavour or spec.flavour
    return config.weights is not None or (
        spec.family,
        spec.width,
        flavour,
    ) == (built_in.family, built_in.width, built_in.flavour)


def _accelerator(config: TrainConfig, path: Path) -> Accelerator:
    for tracker in config.loop.trackers:
        require(tracker, extra="train" if tracker == "tensorboard" else tracker)
    # accelerate keeps the precision of the first run in a process; a second run may need another.
    AcceleratorState._reset_state()
    # All batches of a resolution have the same shape, so the GPU tries the kernels of a convolution once.
    torch.backends.cudnn.benchmark = True
    try:
        return Accelerator(
            mixed_precision=PRECISION[config.loop.precision],
            cpu=config.loop.device == "cpu",
            log_with=list(config.loop.trackers) or None,
            project_dir=path,
        )
    except ValueError as error:
        raise TrainingError(
            f"loop.precision={config.loop.precision} does not work on this device: {error}\n"
            "       use --set loop.precision=fp32 or bf16"
        ) from None


def _load_initial(network: nn.Module, config: ModelConfig) -> None:
    if config.weights:
        load_weights(network, zoo.locate(config.weights).weights(), reset_classifier=True)


def worker_count(config: TrainConfig, processes: int) -> int:
    """Return the number of workers for each of ``processes``: as set, else its share of the cores."""
    if config.data.workers is not None:
        return config.data.workers
    return max(1, min(16, usable_cores() // processes))


def run_path(
    config: TrainConfig, output: str | Path | None, *, resume: Resume, suffix: str = ""
) -> tuple[Path, bool]:
    """Return the run directory, and whether a run in it goes on; the same in every process.

    Raises:
        UsageError: there is no run to go on with, and ``resume`` is not ``"auto"``.
    """
    name = f"{Path(config.data.path).resolve().stem}-{config.model.name}{suffix}"
    chosen: list[Any] = [None]
    # Only the main process looks. Another might see the directory that the main process has just made.
    if PartialState(cpu=config.loop.device == "cpu").is_main_process:
        chosen = [choose_run(name, Path(output) if output else None, resume=resume)]
    path, continued = broadcast_object_list(chosen)[0]
    return path, continued
