"""One training run from its configuration to its bundle."""

from __future__ import annotations

import logging
import multiprocessing
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from time import monotonic
from typing import Any

import torch
from accelerate import Accelerator, PartialState
from accelerate.state import AcceleratorState
from accelerate.utils import broadcast_object_list, set_seed
from torch import nn

from ghostclas import zoo
from ghostclas.bundle import Bundle, default_bundle_path
from ghostclas.data import Splits, open_splits
from ghostclas.data.source import Source
from ghostclas.errors import TrainingError, UsageError, command_line, refuse_url
from ghostclas.exporting.onnx import export_bundle
from ghostclas.exporting.provenance import made_now
from ghostclas.extras import require
from ghostclas.files import is_there
from ghostclas.loading import load_weights
from ghostclas.models import create_model
from ghostclas.models.cpu import speed_up
from ghostclas.models.int8 import simulate_int8
from ghostclas.processor import usable_cores
from ghostclas.progress import ProgressLine, is_shown
from ghostclas.spec import Metric, ModelSpec
from ghostclas.terminal import counted
from ghostclas.training.budget import seconds_to_finish
from ghostclas.training.checkpoint import read_checkpoint
from ghostclas.training.config import ModelConfig, TrainConfig, minutes, resolve_config
from ghostclas.training.curves import draw_curves
from ghostclas.training.finishing import few_images_note, measure_run, set_aside
from ghostclas.training.history import learned
from ghostclas.training.input.shared_memory import SharedMemory, local_processes
from ghostclas.training.loop import Trainer, check_batch
from ghostclas.training.memory import keep_freed_memory
from ghostclas.training.objective import ObjectiveFactory, RunContext
from ghostclas.training.places import run_name
from ghostclas.training.probing import fit_head
from ghostclas.training.recipes import recipe_names
from ghostclas.training.result import Run
from ghostclas.training.resumption import DataRecord, Resume
from ghostclas.training.rundir import RunDirectory, choose_run
from ghostclas.training.stopping import Stop
from ghostclas.weights.reading import CLASSIFIER

_log = logging.getLogger(__name__)

DEFAULT_RECIPE = "scratch"
RECIPES_FROM_WEIGHTS = ((2_000, "small"), (20_000, "finetune"))
"""The default recipe up to a number of training images, where there are weights to start from. Above, the
weights are worth less than a longer run."""
PRECISION = {"fp32": "no", "bf16": "bf16", "fp16": "fp16"}


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
    quiet: bool | None = None,
    keep_processes: bool = False,
    began: float | None = None,
    **overrides: Any,
) -> Run:
    """Train a classifier on labelled images and return its run.

    Args:
        data: an image folder or archive; see ``ghostclas.data.open_splits``. Or the settings of the group
            ``data``, with ``path`` among them.
        network: a name such as ``ghostnet_x1_0`` or ``ghostnet_x0_75``; when absent, that of a model given
            as ``weights``, else the recipe's. The setting ``model.name``.
        weights: what to start from: ``default``, a bundle, a run, a file or a zoo name. The setting
            ``model.weights``.
        recipe: one of ``ghostclas.training.recipes.recipe_names()`` or a YAML file. When absent, and for the
            network of the built-in model or with ``weights``, ``small`` for up to 2,000 images and
            ``finetune`` for up to 20,000; else ``scratch``.
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
        quiet: no progress on stderr; when absent, progress is shown in a notebook alone.
        keep_processes: leave the group of processes as it is, for another run in the same ones.
        began: when the budget ``time`` began, by ``time.monotonic``; now, when absent.
        overrides: groups of settings that win over the recipe: ``optimizer={"momentum": 0.8}``. ``model`` may
            also be a network's name, as before there was ``network``.

    Raises:
        UsageError: a setting, name or directory that does not fit.
        DataError: images that cannot be used.
        TrainingError: the run cannot go on, or its images are not those that it was started with.
        KeyboardInterrupt: Ctrl-C, or SIGTERM (``errors.Terminated``); a checkpoint holds the run as it is.
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
    began = monotonic() if began is None else began
    named = str(recipe) if recipe is not None else None
    complete = config is not None
    config = (config or resolve_config(named or DEFAULT_RECIPE, settings, given)).absolute()
    if config.model.weights:
        # A mistake is told now, and not after the images were listed.
        located = zoo.locate(config.model.weights)
        theirs = _network_of(located)
        if theirs and not complete and (named is None or named in recipe_names()):
            fitting = {**given, "model": {**theirs, **dict(given.get("model", {}))}}
            changed = resolve_config(named or DEFAULT_RECIPE, settings, fitting).absolute()
            # Who names the network has its way.
            if changed.model.name == theirs["name"]:
                given, config = fitting, changed
    spec = zoo.resolve_spec(config.model.name)
    splits = splits or splits_of(config)
    why = None if complete else "given"
    if not complete:
        images = len(splits.train.samples)
        if named is None:
            started = _has_weights_to_start_from(config.model, spec)
            named = _recipe_from_weights(images) if started else None
            start = "weights to start from" if started else "no weights to start from"
            why = f"the default for {counted(images, 'image')} and {start}"
        # A recipe may fit itself to the number of images.
        config = resolve_config(named or DEFAULT_RECIPE, settings, given, images=images).absolute()
    path, continued = run_path(config, output, resume=resume)
    accelerator = _accelerator(config, path)
    if accelerator.is_main_process:
        if why:
            _log.info("recipe: %s, %s", named or DEFAULT_RECIPE, why)
        _log.info("settings: %s", _choices(config))
    check_batch(config.loop, len(splits.train.samples), world=accelerator.num_processes)
    run = RunDirectory(path)
    progress = ProgressLine(enabled=accelerator.is_main_process and is_shown(quiet))
    if config.loop.keep_memory and accelerator.device.type == "cpu":
        keep_freed_memory()
    try:
        notes = splits.notes
        if accelerator.is_main_process:
            notes += run.open(config, DataRecord.of(splits), resume=continued)
        accelerator.wait_for_everyone()
        for note in notes:
            progress.say(note)
        if few := few_images_note(len(splits.val.samples)):
            progress.say(few)
        # One of several processes that stops by itself would leave the others waiting for it.
        with Stop() if accelerator.num_processes == 1 else nullcontext(Stop()) as stop:
            return _train(config, spec, splits, objective, accelerator, run, progress, stop, began)
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


def _network_of(weights: zoo.Located) -> dict[str, Any]:
    """Return the settings of the network that weights belong to, where they are a model or a name."""
    if weights.kind == "network":
        return {"name": weights.name}
    if weights.kind not in ("bundle", "run"):
        return {}
    theirs = weights.bundle().manifest.spec
    try:
        known = zoo.resolve_spec(theirs.name)
    except UsageError:
        # A name of its maker's; the recipe's network may fit all the same.
        return {}
    return {"name": theirs.name, **({} if theirs.flavour == known.flavour else {"flavour": theirs.flavour})}


def _recipe_from_weights(images: int) -> str | None:
    return next((name for most, name in RECIPES_FROM_WEIGHTS if images <= most), None)


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
    stop: Stop,
    began: float,
) -> Run:
    train_source, val_source = splits.train, splits.val
    workers = worker_count(config, accelerator.num_processes)
    built = objective(RunContext(accelerator, workers, progress.say)) if objective else None
    spec = published.model_copy(
        update={
            "flavour": config.model.flavour or published.flavour,
            "num_classes": len(train_source.classes),
            "dropout": config.model.dropout,
        }
    )
    finishing = 0.0
    if config.loop.time and accelerator.is_main_process:
        finishing = seconds_to_finish(spec, config.data.preprocess, budget=60 * config.loop.time)
    set_seed(config.loop.seed)
    network = create_model(spec)
    new_classifier = _load_initial(network, config.model)
    if config.model.fit_head and new_classifier and not run.last.exists():
        memory = SharedMemory(progress.say, processes=local_processes())
        found = fit_head(
            network,
            train_source,
            config.data.preprocess,
            workers=workers,
            memory=memory,
            seed=config.loop.seed,
        )
        if found:
            progress.say(
                f"the classifier starts from a logistic regression: loss {found.loss:.3f} in cross-validation"
            )
    if config.model.int8:
        simulate_int8(network)
    if accelerator.device.type == "cpu":
        speed_up(network, compiled=config.loop.compile)
    trainer = Trainer(
        config,
        network,
        train_source,
        val_source,
        accelerator,
        run,
        progress,
        workers,
        built,
        stop=stop,
        began=began,
        finishing=finishing,
    )
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
        best = [entry["epoch"] for entry in entries if entry.get("best")]
        cut = config.loop.time is not None and trainer.position.step < trainer.total_steps
        return Run(
            run.path,
            run.bundle,
            len(entries),
            metric.top1,
            metric.top5,
            len(trainer.bad),
            images=metric.images,
            best_epoch=best[-1] if best else None,
            planned_epochs=config.schedule.epochs if cut else None,
        )
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
            "trained": made_now("torch"),
            **set_aside(val_source, config.loop.seed),
            **config.provenance(),
        },
    )
    draw_curves(run.entries(), run.curves, val_images=len(val_source.samples))
    return measure_run(
        bundle,
        val_source,
        config.data.path,
        run.report,
        say,
        learned=learned(
            run.entries(),
            config,
            train_images=len(train_source.samples),
            val_images=len(val_source.samples),
            device=device,
            bad_images=bad_images,
        ),
    )


def _device_name(accelerator: Accelerator) -> str:
    """Return what a person calls the device: the name of a GPU, or ``cpu``; with the number of processes."""
    device = accelerator.device
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else device.type
    return f"{accelerator.num_processes} x {name}" if accelerator.num_processes > 1 else name


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
    return (
        f"epochs: {', '.join([f'{schedule.epochs:g}{limit}', *start])}; batches of {config.loop.batch_size}"
    )


def _choices(config: TrainConfig) -> str:
    """Say the settings that decide most of the result and of the time."""
    data, optimizer, loop = config.data, config.optimizer, config.loop
    return ", ".join(
        (
            f"{optimizer.name} with a rate of {optimizer.lr:g} and a {config.schedule.name} schedule",
            f"decay {optimizer.weight_decay:g}",
            f"photos of {data.resolution} pixels to train and {data.eval_resolution} to validate",
            f"average of the weights {loop.ema:g}" if loop.ema else "no average of the weights",
            f"label smoothing {loop.label_smoothing:g}",
            f"policy {config.augment.policy}",
            f"validation every {loop.validate_every} epochs"
            if loop.validate_every > 1
            else "validation every epoch",
        )
    )


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


def _load_initial(network: nn.Module, config: ModelConfig) -> bool:
    """Load the weights that a run starts from; return whether their classifier is another."""
    if not config.weights:
        return False
    kept = load_weights(network, zoo.locate(config.weights).weights(), reset_classifier=True)
    return any(name in CLASSIFIER for name in kept)


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
    name = run_name(config.data.path, config.model.name, suffix)
    chosen: list[Any] = [None]
    # Only the main process looks. Another might see the directory that the main process has just made.
    if PartialState(cpu=config.loop.device == "cpu").is_main_process:
        chosen = [choose_run(name, Path(output) if output else None, resume=resume)]
    path, continued = broadcast_object_list(chosen)[0]
    return path, continued
