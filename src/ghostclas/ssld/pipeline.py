"""SSLD as one run of four steps: score, mine, distil, fine-tune. Each also runs alone and can be resumed.

runs/<name>/
  config.yaml   the resolved configuration of all steps
  teacher/      the run that adapted the teacher, where it was adapted
  mine/         mined.json, mined_list.txt, index.html
  distil/       an ordinary run directory
  finetune/     an ordinary run directory, started from distil/
  bundle/       the finished artifact: that of finetune/
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import cache
from pathlib import Path
from typing import Any

import torch
from accelerate import PartialState
from accelerate.utils import gather_object

from ghostclas import zoo
from ghostclas.bundle import Bundle, copy_bundle
from ghostclas.data import Splits
from ghostclas.data.pool import open_pool
from ghostclas.errors import UsageError
from ghostclas.files import check_folder
from ghostclas.progress import ProgressLine, is_shown
from ghostclas.ssld.config import DistilConfig, TeacherConfig
from ghostclas.ssld.mining import Mined, classes_of, mine, open_mined, select_images, survey
from ghostclas.ssld.mining_page import write_page
from ghostclas.ssld.objective import build_objective, with_mined
from ghostclas.ssld.opening import open_teacher, open_training_teacher
from ghostclas.ssld.run_config import DEFAULT_RECIPE, SsldConfig, ssld_config
from ghostclas.ssld.scoring import Scores, open_cache, score
from ghostclas.ssld.teacher import Teacher
from ghostclas.training.config import TrainConfig, resolve_config
from ghostclas.training.objective import Objective, RunContext
from ghostclas.training.result import Run
from ghostclas.training.resumption import DataRecord, Resume
from ghostclas.training.run import how_to_continue, run_path, splits_of, train, worker_count
from ghostclas.training.rundir import RunDirectory

Count = Callable[[int, int | None], None]

TEACHER_RECIPE = "ssld_teacher"
# Scoring and mining may take hours, in which other processes wait.
_WAIT_LIMIT = timedelta(days=7)


def distil(
    *,
    teacher: TeacherConfig | str | None = None,
    labeled: str | Path | None = None,
    unlabeled: str | Path | None = None,
    network: str | None = None,
    recipe: str | None = None,
    settings: Iterable[str] = (),
    cache: str | Path | None = None,
    adapt_teacher: bool = False,
    output: str | Path | None = None,
    resume: Resume = False,
    quiet: bool | None = None,
    count: Count | None = None,
) -> Run:
    """Distil a teacher into a small network with the help of unlabelled images, in all four steps.

    Args:
        teacher: see ``ssld.config.TeacherConfig``.
        labeled: the labelled images, as for ``train``.
        unlabeled: the pool, as for ``data.pool.open_pool``. Duplicates of validation images are left out.
        network: the student; the recipe's when absent.
        recipe: a recipe with ``distil`` in it, or a YAML file; ``ssld`` when absent.
        settings: ``"key=value"`` strings that override the recipe. ``loop.time`` is for both trainings.
        cache: the directory of the teacher's logits of whole images; in the user's cache when absent.
        adapt_teacher: train the teacher on the labels first; see :func:`adapt`.
        output: the run directory; ``runs/<data>-<network>-ssld`` when absent.
        resume: continue the run in ``output``, or the newest of that name; see ``train``. With ``output``,
            arguments that are absent keep the run's own values.
        quiet: show no progress on stderr; when absent, progress is shown in a notebook alone.
        count: called with the number of images scored and their total.

    Returns:
        The run of the fine-tuning, with the directory and bundle of the whole run.

    Raises:
        UsageError, DataError, BundleError, TrainingError, MissingExtraError: as the steps do.
    """
    own = _own_settings(output, resume) if recipe is None else None
    config = ssld_config(
        teacher,
        labeled,
        network=network,
        recipe=own or recipe or DEFAULT_RECIPE,
        settings=settings,
        pool=unlabeled,
        cache=cache,
        # A resumed run keeps its own choice, unless the caller adapts.
        adapt=adapt_teacher or (None if own else False),
    ).absolute()
    pool = _pool_of(config, own)
    state = PartialState(cpu=config.loop.device == "cpu", timeout=_WAIT_LIMIT)
    path, continued = run_path(config, output, resume=resume, suffix="-ssld")
    run = RunDirectory(path)
    progress = ProgressLine(enabled=state.is_main_process and is_shown(quiet))
    try:
        splits = splits_of(config)
        if state.is_main_process:
            for note in run.open(config, DataRecord.of(splits), resume=continued):
                progress.say(note)
        state.wait_for_everyone()
        return _Steps(config, run, state, progress, splits, pool, quiet, count).run()
    except KeyboardInterrupt:
        if run.config.exists():
            progress.say(how_to_continue(("ghostclas", "ssld"), path))
        raise
    finally:
        state.destroy_process_group()
        run.close()


@dataclass(frozen=True)
class _Steps:
    """The steps of one run. They open the teacher once, when the first of them needs it."""

    config: SsldConfig
    directory: RunDirectory
    state: PartialState
    progress: ProgressLine
    splits: Splits
    pool: str
    quiet: bool | None
    count: Count | None

    def run(self) -> Run:
        path, state = self.directory.path, self.state
        # Earlier versions did not record whether they adapted; the folder shows it.
        adapts = self.config.distil.adapt or (self.config.distil.adapt is None and _started(path / "teacher"))
        config = self.adapted() if adapts else self.config
        mined, student, tuned = path / "mine" / "mined.json", path / "distil", path / "finetune"
        with ExitStack() as stack:
            teacher = _opened_once(config.teacher, state.device, stack)
            if not mined.exists():
                self.progress.say("steps 1 and 2 of 4: scoring the images and mining")
                self.mine(config, teacher(), mined.parent)
            first, second = _stages(config, mined, student / "bundle")
            self.progress.say("step 3 of 4: distilling")
            if not _finished(student):
                train_student(
                    config=first,
                    splits=self.splits,
                    open_teacher=teacher,
                    output=student,
                    resume=_started(student),
                    verb=None,
                    quiet=self.quiet,
                    keep_processes=True,
                )
            state.wait_for_everyone()
        self.progress.say("step 4 of 4: fine-tuning on the labels")
        if not _finished(tuned):
            train(
                config=second,
                splits=self.splits,
                output=tuned,
                resume=_started(tuned),
                verb=None,
                quiet=self.quiet,
                keep_processes=True,
            )
        state.wait_for_everyone()
        if state.is_main_process:
            copy_bundle(Bundle.open(tuned / "bundle"), self.directory.bundle)
        state.wait_for_everyone()
        return replace(_read(tuned), path=path, bundle=self.directory.bundle, report=tuned / "report")

    def adapted(self) -> SsldConfig:
        """Adapt the teacher; return the configuration that names it."""
        self.progress.say("step 0 of 4: adapting the teacher to the labels")
        folder = self.directory.path / "teacher"
        if not _finished(folder):
            adapt(
                self.config.teacher,
                self.config.data.path,
                settings=_shared_settings(self.config),
                output=folder,
                resume=_started(folder),
                verb=None,
                quiet=self.quiet,
                keep_processes=True,
            )
        self.state.wait_for_everyone()
        teacher = TeacherConfig(model=str(folder / "bundle"))
        return self.config.model_copy(
            update={"distil": self.config.distil.model_copy(update={"teacher": teacher})}
        )

    def mine(self, config: SsldConfig, teacher: Teacher, output: Path) -> None:
        """Score and mine in one pass over the images, which the processes share."""
        state, settings = self.state, config.distil.mine
        classes = classes_of(teacher, self.splits, config.teacher.mapping)
        with state.main_process_first():
            answers = open_cache(teacher, settings.cache)
        found = survey(
            teacher,
            self.splits,
            open_pool(self.pool),
            answers,
            settings,
            share=(state.process_index, state.num_processes),
            gather=gather_object,
            threads=max(1, worker_count(config, state.num_processes)),
            progress=self.count,
        )
        if state.is_main_process:
            picked = select_images(found, self.splits, self.pool, teacher.name, classes, settings)
            write_page(picked, output)
            picked.write(output)
            self.progress.say(summary(picked))
        state.wait_for_everyone()


def _own_settings(output: str | Path | None, resume: Resume) -> str | None:
    """Return the settings of the run that is resumed in ``output``, if there is one."""
    own = Path(output, "config.yaml") if output is not None else None
    return str(own) if own and resume and own.exists() else None


def _pool_of(config: SsldConfig, own: str | None) -> str:
    if config.distil.mine.pool is not None:
        return config.distil.mine.pool
    if own:
        raise UsageError(
            f"{own} does not name the unlabelled images, as an earlier version of ghostclas wrote it; "
            "give --unlabeled"
        )
    raise UsageError("--unlabeled is needed; see: ghostclas ssld --help")


def _opened_once(config: TeacherConfig, device: torch.device, stack: ExitStack) -> Callable[[], Teacher]:
    """Return a function that opens the teacher on its first call; ``stack`` closes it."""

    @cache
    def opened() -> Teacher:
        teacher = open_training_teacher(config, device=str(device))
        stack.callback(teacher.close)
        return teacher

    return opened


def score_all(config: SsldConfig, *, count: Count | None = None) -> tuple[Scores, ...]:
    """Score the pool (if there is one), the validation and the training images: the first step.

    ``config`` names the teacher, the pool and the cache. ``count`` is called with the number of images
    scored and their total.

    Raises:
        DataError: as ``ssld.scoring.score``.
    """
    splits, settings = splits_of(config), config.distil.mine
    sources = [*([open_pool(settings.pool)] if settings.pool is not None else []), splits.val, splits.train]
    teacher = open_teacher(config.teacher, device=_device(config))
    try:
        opened = open_cache(teacher, settings.cache)
        return tuple(
            score(
                teacher,
                source,
                opened,
                max_bad=settings.max_bad,
                threads=max(1, worker_count(config, 1)),
                progress=count,
            )
            for source in sources
        )
    finally:
        teacher.close()


def mine_pool(config: SsldConfig, *, output: Path, count: Count | None = None) -> Mined:
    """Mine the pool and write the list and the page into ``output``: the second step.

    ``config`` and ``count`` are as for :func:`score_all`.

    Raises:
        UsageError: no pool is named, or ``output`` cannot be written; nothing was scored.
        DataError: as ``ssld.mining.mine``.
    """
    pool = _pool_of(config, None)
    check_folder(output, option="--output")
    splits = splits_of(config)
    teacher = open_teacher(config.teacher, device=_device(config))
    try:
        found = mine(
            teacher,
            splits,
            pool,
            open_cache(teacher, config.distil.mine.cache),
            config.distil.mine,
            mapping=config.teacher.mapping,
            threads=max(1, worker_count(config, 1)),
            progress=count,
        )
    finally:
        teacher.close()
    write_page(found, output)
    found.write(output)
    return found


def train_student(
    *,
    teacher: TeacherConfig | str | None = None,
    labeled: str | Path | None = None,
    mined: str | Path | None = None,
    network: str | None = None,
    recipe: str | None = None,
    settings: Iterable[str] = (),
    config: SsldConfig | None = None,
    splits: Splits | None = None,
    open_teacher: Callable[[], Teacher] | None = None,
    output: str | Path | None = None,
    resume: Resume = False,
    verb: Sequence[str] | None = ("ghostclas", "ssld", "distil"),
    quiet: bool | None = None,
    keep_processes: bool = False,
) -> Run:
    """Train a student on the teacher's answers to labelled and mined images: the third step, a run.

    Args:
        teacher: see ``ssld.config.TeacherConfig``.
        labeled: the labelled images, as for ``train``.
        mined: the list that mining wrote; only labelled images when absent.
        network: the student; the recipe's when absent.
        recipe: as for :func:`distil`. When absent, a resumed run keeps its own settings.
        settings: as for ``train``.
        config: a complete configuration, instead of all of these.
        splits: the labelled images, if they are open already.
        open_teacher: returns the teacher, if the caller opens it.
        output: the run directory.
        resume: continue the run in ``output``.
        verb: see ``train``.
        quiet: show no progress on stderr; when absent, progress is shown in a notebook alone.
        keep_processes: see ``train``.
    """
    if config is None:
        recipe = recipe or _own_settings(output, resume) or DEFAULT_RECIPE
        config = ssld_config(teacher, labeled, network=network, recipe=recipe, settings=settings, mined=mined)
    chosen, labelled = config, splits or splits_of(config)
    source = with_mined(labelled.train, config.distil)

    def objective(context: RunContext) -> Objective:
        if open_teacher is not None:
            known = open_teacher()
        else:
            known = open_training_teacher(chosen.teacher, device=str(context.accelerator.device))
        return build_objective(chosen, known, labelled.train, source, context)

    return train(
        config=config,
        splits=replace(labelled, train=source),
        objective=objective,
        output=output,
        resume=resume,
        verb=verb,
        quiet=quiet,
        keep_processes=keep_processes,
    )


def finetune(
    weights: str | Path,
    *,
    labeled: str | Path,
    recipe: str = DEFAULT_RECIPE,
    settings: Iterable[str] = (),
    output: str | Path | None = None,
    resume: bool = False,
    quiet: bool | None = None,
) -> Run:
    """Train a distilled student on the labels at a hundredth of the rate: the fourth step, a run.

    Args:
        weights: the run or bundle of the third step.
        labeled: the labelled images.
        recipe: the recipe of the third step; ``distil.finetune`` holds the differences.
        settings: as for ``train``.
        output: the run directory.
        resume: continue the run in ``output``.
        quiet: show no progress on stderr; when absent, progress is shown in a notebook alone.
    """
    given: dict[str, Any] = {"data": {"path": str(Path(labeled))}}
    config = resolve_config(recipe, settings, given, schema=SsldConfig)
    return train(config=finetune_config(config, weights), output=output, resume=resume, quiet=quiet)


def adapt(
    teacher: TeacherConfig | str,
    labeled: str | Path,
    *,
    recipe: str = TEACHER_RECIPE,
    settings: Iterable[str] = (),
    output: str | Path | None = None,
    resume: bool = False,
    verb: Sequence[str] | None = ("ghostclas", "train"),
    quiet: bool | None = None,
    keep_processes: bool = False,
) -> Run:
    """Train a teacher on the labels, from its own weights; the run's bundle is the adapted teacher.

    Args:
        teacher: ``efficientnet_lite0`` to ``2``, or a bundle or run of this package.
        labeled: the labelled images.
        recipe: a training recipe.
        settings: as for ``train``.
        output: the run directory.
        resume: continue the run in ``output``.
        verb: see ``train``.
        quiet: show no progress on stderr; when absent, progress is shown in a notebook alone.
        keep_processes: see ``train``.

    Raises:
        UsageError: the teacher is no network of this package.
    """
    name = teacher if isinstance(teacher, str) else teacher.model
    located = zoo.locate(name)
    if located.name.startswith(zoo.TIMM) or located.kind not in ("bundle", "run", "network"):
        raise UsageError(
            f"{name} cannot be adapted here; adapt efficientnet_lite0 to 2, a run or a bundle, or give a "
            "teacher that knows the classes"
        )
    spec = None if located.kind == "network" else located.bundle().spec
    given: dict[str, Any] = {
        "data": {"path": str(Path(labeled))},
        "model": {"name": spec.name if spec else name, "weights": name},
    }
    config = resolve_config(recipe, settings, given)
    return train(
        config=config, output=output, resume=resume, verb=verb, quiet=quiet, keep_processes=keep_processes
    )


def finetune_config(config: SsldConfig, weights: str | Path) -> TrainConfig:
    """Return the configuration of the fourth step: labels, a hundredth of the rate, from ``weights``.

    The resolution is ``distil.finetune.resolution`` where that is set; validation grows with it.
    """
    step = config.distil.finetune
    data = config.data.model_copy(update={"progressive": ()})
    if step.resolution is not None:
        grown = {"resolution": step.resolution, "eval_resolution": None, "eval_resize": None}
        data = data.model_copy(update=grown)
    plain = {name: getattr(config, name) for name in TrainConfig.model_fields}
    return TrainConfig(
        **plain
        | {
            "data": data,
            "model": config.model.model_copy(update={"weights": str(weights)}),
            "optimizer": config.optimizer.model_copy(update={"lr": config.optimizer.lr * step.lr}),
            "schedule": config.schedule.model_copy(
                update={"epochs": step.epochs, "warmup_epochs": step.warmup_epochs, "head_epochs": 0}
            ),
            "loop": config.loop.model_copy(update={"label_smoothing": step.label_smoothing}),
        }
    )


def summary(found: Mined) -> str:
    """Describe the result of mining in a few lines."""
    counts = found.counts
    empty = len(found.empty_classes)
    return "\n".join(
        [
            f"the teacher is right on {found.teacher_top1:.2f} % of the validation images",
            f"taken {len(found.taken):,} of {len(found.pool.samples):,} images of {found.location}: "
            f"{counts.min():,} to {counts.max():,} a class"
            + (f", {empty} classes without any" if empty else ""),
            f"left out: {found.removed_from('val'):,} that are in the validation set, "
            f"{found.removed_from('train'):,} that are labelled, {found.removed_from('pool'):,} copies, "
            f"{len(found.unread):,} unreadable, {found.passed_over:,} that no class took",
        ]
    )


def _stages(config: SsldConfig, mined: Path, student: Path) -> tuple[SsldConfig, TrainConfig]:
    """Return the configurations of the two trainings, each without the settings of the other."""
    plain = DistilConfig()
    update = {
        "mined": str(mined),
        "adapt": None,
        "adapt_epochs": None,
        "mine": plain.mine,
        "finetune": plain.finetune,
    }
    first = config.model_copy(update={"distil": config.distil.model_copy(update=update)})
    second = finetune_config(config, student)
    if config.loop.time is not None:
        labelled = splits_of(config).train
        alone = len(labelled.samples)
        together = alone + len(open_mined(mined, tuple(labelled.classes)).samples)
        work = (first.schedule.epochs * together, second.schedule.epochs * alone)
        times = [config.loop.time * part / sum(work) for part in work]
        first = first.model_copy(update={"loop": first.loop.model_copy(update={"time": times[0]})})
        second = second.model_copy(update={"loop": second.loop.model_copy(update={"time": times[1]})})
    return first, second


def _shared_settings(config: SsldConfig) -> list[str]:
    """Return the settings that an adapted teacher shares with its student, so that it sees the same views."""
    data, loop = config.data, config.loop
    shared: dict[str, Any] = {
        "data.resolution": data.resolution,
        "data.eval_resolution": data.preprocess.crop,
        "data.eval_resize": data.preprocess.resize.short_side,
        "data.max_bad": data.max_bad,
        "loop.seed": loop.seed,
        "loop.device": loop.device,
        "loop.precision": loop.precision,
    }
    chosen = {
        "data.val_fraction": data.val_fraction,
        "data.workers": data.workers,
        "schedule.epochs": config.distil.adapt_epochs,
    }
    shared |= {key: value for key, value in chosen.items() if value is not None}
    return [f"{key}={value}" for key, value in shared.items()]


def _device(config: SsldConfig) -> str:
    return "cuda" if config.loop.device == "auto" and torch.cuda.is_available() else "cpu"


def _started(folder: Path) -> bool:
    return (folder / "config.yaml").exists()


def _finished(folder: Path) -> bool:
    return (folder / "bundle" / "manifest.json").exists() and (folder / "report" / "index.html").exists()


def _read(folder: Path) -> Run:
    """Return the finished run in ``folder``."""
    run = RunDirectory(folder)
    metrics = Bundle.open(run.bundle).manifest.metrics
    entries = run.entries()
    bad = len(run.bad_images.read_text(encoding="utf-8").splitlines()) if run.bad_images.exists() else 0
    return Run(folder, run.bundle, len(entries), metrics[-1].top1, metrics[-1].top5, bad)
