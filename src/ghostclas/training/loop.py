"""The training loop: epochs of steps over seeded batches, with validation, checkpoints and resumption.

The seed alone decides what step ``s`` of epoch ``e`` does. A run that was stopped and resumed therefore does
the same as an uninterrupted one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict, dataclass, field, fields, replace
from typing import Any

import numpy as np
import torch
from accelerate import Accelerator
from accelerate.utils import broadcast, gather_object
from torch import Tensor, nn

from ghostclas.data.source import Source
from ghostclas.errors import DataError, TrainingError, UsageError
from ghostclas.models.cpu import compile_training
from ghostclas.progress import ProgressLine
from ghostclas.training.checkpoint import load_checkpoint, previous, save_checkpoint
from ghostclas.training.config import LoopConfig, TrainConfig
from ghostclas.training.curves import Curves
from ghostclas.training.ema import EMA
from ghostclas.training.input.failures import loader_failures_explained
from ghostclas.training.input.images import BadImage, Batch, EvaluationImages, TrainingImages
from ghostclas.training.input.loader import TrainingLoader, evaluation_batches
from ghostclas.training.input.mixing import build_mixing
from ghostclas.training.input.sampling import LEAST_IMAGES, ShardedBatches, class_weights, epoch_indices
from ghostclas.training.input.shared_memory import SharedMemory, local_processes
from ghostclas.training.norms import frozen_norms
from ghostclas.training.objective import CrossEntropy, Objective, Views
from ghostclas.training.optim import build_optimizer, heads_of, set_rates
from ghostclas.training.progress import epoch_line, step_line
from ghostclas.training.rundir import RunDirectory, write_text
from ghostclas.training.selection import is_better
from ghostclas.training.stopping import Stop

FINITE_CHECK_STEPS = 20
MAX_HALVINGS = 3
# Two passes over the validation images follow the last step: the validation, and the evaluation of the
# bundle.
VALIDATIONS_RESERVE = 2
# At most this share of a time budget is reserved for what follows the last step.
MOST_RESERVED = 0.5
# A pass without gradients takes this share of a training step of as many pixels.
VALIDATION_SHARE = 0.4
# A resumed run keeps its settings, so the advice is for another one.
_DIVERGENCE_ADVICE = (
    "start another run, with another --output, and with a lower optimizer.lr, optimizer.clip_norm=1 or "
    "loop.precision=fp32"
)


@dataclass
class Position:
    """The progress of a run and the sums of its current epoch; every checkpoint holds it."""

    epoch: int = 0
    step_in_epoch: int = 0
    step: int = 0
    resolution: int = 0
    seconds: float = 0.0
    best_top1: float = -1.0
    best_loss: float = float("inf")
    highest_top1: float = -1.0
    loss_sum: float = 0.0
    loss_images: int = 0
    images: int = 0
    epoch_seconds: float = 0.0
    wait_seconds: float = 0.0
    lr: float = 0.0
    micro_batches: int = 1
    validation_seconds: float = 0.0

    def start_epoch(self, epoch: int, resolution: int) -> None:
        """Begin ``epoch`` with empty sums."""
        self.epoch, self.step_in_epoch, self.resolution = epoch, 0, resolution
        self.loss_images = self.images = 0
        self.loss_sum = self.epoch_seconds = self.wait_seconds = 0.0


@dataclass
class Trainer:
    """One process' part of a run. ``fit`` trains; its results are in ``ema`` and the run directory."""

    config: TrainConfig
    model: nn.Module
    train_source: Source
    val_source: Source
    accelerator: Accelerator
    run: RunDirectory
    progress: ProgressLine
    workers: int
    objective: Objective | None = None
    stop: Stop = field(default_factory=Stop)
    began: float | None = None
    """when the time budget began, by ``time.monotonic``; when ``fit`` begins, if absent"""
    finishing: float = 0.0
    """seconds of a time budget that the export and the report take, without the images"""
    position: Position = field(default_factory=Position)
    bad: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        loop, world = self.config.loop, self.accelerator.num_processes
        check_batch(loop, len(self.train_source.samples), world=world)
        self.curves = Curves(self.run.curves, val_images=len(self.val_source.samples))
        self.criterion = self.objective or CrossEntropy(loop.label_smoothing)
        self.labels = np.array([sample.label for sample in self.train_source.samples], dtype=np.int64)
        # A data set smaller than a batch is one batch.
        self.global_batch = min(loop.batch_size, -(-len(self.labels) // world) * world)
        self.batch_size = self.global_batch // world
        self.steps_per_epoch = -(-len(self.labels) // self.global_batch)
        self.total_steps = max(1, round(self.config.schedule.epochs * self.steps_per_epoch))
        self.position.micro_batches = loop.accumulate

        if loop.sync_bn and self.accelerator.device.type == "cpu":
            raise UsageError("loop.sync_bn needs GPUs: PyTorch has no synchronized batch norm on the CPU")
        if loop.sync_bn and world > 1:
            self.model = nn.SyncBatchNorm.convert_sync_batchnorm(self.model)  # type: ignore[no-untyped-call]
        self.frozen_norms = frozen_norms(
            self.model, self.config.model.freeze_statistics, side=self.config.data.resolution
        )
        self.wrapped = self.criterion.wrap(self.model)
        if loop.channels_last:
            self.wrapped.to(memory_format=torch.channels_last)
        optimizer = build_optimizer(
            self.wrapped,
            self.config.optimizer,
            batch_size=self.global_batch,
            heads=self.criterion.heads() if self.objective else heads_of(self.model),
        )
        self.network, self.optimizer = self.accelerator.prepare(self.wrapped, optimizer)
        self.forward: Callable[..., Any] = self.network
        if loop.compile and loop.channels_last and self.accelerator.device.type == "cpu":
            self.forward = compile_training(self.network)
        elif loop.compile:
            self.forward = torch.compile(self.network, dynamic=False)
        self.ema = EMA(self.model, loop.ema, warm_up=loop.ema_warmup)

        device, num_classes = self.accelerator.device, len(self.train_source.classes)
        statistics = self.config.data.preprocess
        self.mean = 255 * torch.tensor(statistics.mean, device=device).view(1, 3, 1, 1)
        self.std = 255 * torch.tensor(statistics.std, device=device).view(1, 3, 1, 1)
        self.mix = build_mixing(self.config.augment, num_classes)
        self.memory = SharedMemory(self.progress.say, processes=local_processes())
        self.loader = TrainingLoader(workers=self.workers, device=device.type, memory=self.memory)
        self.images: TrainingImages | None = None
        self._top1: float | None = None
        self._done = 0.0
        self.class_weights: Tensor | None = None
        if self.config.data.balance == "loss":
            weights = class_weights(self.train_source.samples, num_classes)
            self.class_weights = torch.tensor(weights, dtype=torch.float32, device=device)

    def fit(self) -> None:
        """Train from ``position`` to the end.

        Raises:
            TrainingError: a loss that is not finite, a full disk, a loader that died, no memory left.
            DataError: more unreadable images than ``data.max_bad`` allows.
            KeyboardInterrupt: a signal came; a checkpoint holds the run as it is.
        """
        self._saved = time.monotonic()
        self._clock = (self.began or self._saved) - self.position.seconds
        self._measure_progress()
        try:
            # Where the start has used all the time, a run still has one step.
            while self._done < 1 or self.position.step == 0:
                if self.position.step_in_epoch == 0:
                    self.position.start_epoch(
                        self.position.step // self.steps_per_epoch,
                        self.config.data.resolution_at(self._done),
                    )
                self._train_epoch()
                self._end_epoch()
            if self.position.step_in_epoch:
                # The run was stopped while it validated its last epoch.
                self._end_epoch()
        except KeyboardInterrupt:
            if self.stop.asked is not None and not self.stop.at_once:
                self.save()
            raise
        finally:
            self.loader.close()
        if self.accelerator.is_main_process and not self.run.best.exists():
            self._save_best(self.position.epoch + 1, self._top1)

    def restore(self) -> bool:
        """Continue from the newest readable checkpoint; return whether there was one."""
        state = load_checkpoint(self.run.last)
        if state is None:
            if self.accelerator.is_main_process and self.run.entries():
                # A kill after the first line of the log and before the first checkpoint leaves that line.
                self.run.write_entries([])
            return False
        try:
            self.wrapped.load_state_dict(state["model"])
        except RuntimeError as error:
            raise TrainingError(
                f"{self.run.last} does not fit the network of this run: {_first_difference(error)}\n"
                "       the classes of the images are not those that it was started with, or config.yaml was "
                "changed"
            ) from None
        try:
            self.ema.load(state["ema"])
            self.optimizer.load_state_dict(state["optimizer"])
            if self.accelerator.scaler is not None and state["scaler"]:
                self.accelerator.scaler.load_state_dict(state["scaler"])
            known = {f.name for f in fields(Position)}
            self.position = Position(
                **{key: value for key, value in state["position"].items() if key in known}
            )
            self.bad = dict(state["bad"])
        except (LookupError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            raise TrainingError(
                f"{self.run.last} is damaged ({type(error).__name__}: {str(error)[:160]})\n"
                f"       remove it to go on from {previous(self.run.last)}"
            ) from None
        if self.position.best_top1 >= 0 and not self.run.best.exists():
            self.progress.say(
                f"{self.run.best} is missing: the best of the epochs from here on is exported, or, if there "
                "is none, the last one"
            )
            self.position.best_top1 = self.position.highest_top1 = -1.0
            self.position.best_loss = float("inf")
        if self.accelerator.is_main_process:
            finished = self.position.step // self.steps_per_epoch
            self.run.write_entries(e for e in self.run.entries() if e["epoch"] <= finished)
        return True

    def save(self) -> None:
        """Write the checkpoint ``last``; only the main process does."""
        self._check_finite()
        self._check_weights()
        if self.accelerator.is_main_process:
            self.position.seconds = time.monotonic() - self._clock
            save_checkpoint(self._state(), self.run.last)
        self._saved = time.monotonic()

    def _save_best(self, epoch: int, top1: float | None) -> None:
        save_checkpoint(
            {"ema": self.ema.state, "epoch": epoch, "top1": top1}, self.run.best, keep_previous=False
        )

    def validate(self) -> dict[str, float]:
        """Return the figures of the averaged model on ``val``.

        ``top1`` and, beyond five classes, ``top5`` are in percent. ``val_loss`` is the mean cross-entropy of
        the labels, without smoothing, in nats.
        """
        began = time.monotonic()
        if self.accelerator.num_processes > 1:
            self.ema.load(broadcast(self.ema.state))
        current = {name: value.clone() for name, value in self.model.state_dict().items()}
        try:
            self.model.load_state_dict(self.ema.state)
            self.model.eval()
            counts = self._count_correct()
        finally:
            with self.stop.held():
                self.model.load_state_dict(current)
                self._set_training()
        images, top1, top5, loss = self.accelerator.reduce(counts, "sum").tolist()
        if images == 0:
            raise DataError(
                f"no image of {self.val_source.location} can be read, so nothing can be validated"
            )
        result = {"val_loss": loss / images, "top1": 100 * top1 / images}
        if len(self.train_source.classes) > 5:
            result["top5"] = 100 * top5 / images
        self.position.validation_seconds = time.monotonic() - began
        return result

    def _set_training(self) -> None:
        self.wrapped.train()
        for norm in self.frozen_norms:
            norm.eval()

    def _train_epoch(self) -> None:
        config, position = self.config, self.position
        indices = epoch_indices(
            self.labels,
            seed=config.loop.seed,
            epoch=position.epoch,
            balanced=config.data.balance == "sampler",
            repeats=config.augment.repeats,
            view_seeds=self.criterion.seeds,
        )
        if self.images is None or self.images.resolution != position.resolution:
            self.images = TrainingImages(self.train_source, config.augment, position.resolution)
        batches = ShardedBatches(
            indices,
            self.batch_size,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
            start=position.step_in_epoch,
        )
        self._set_training()
        loss_sum = torch.zeros((), device=self.accelerator.device)
        loss_images = 0
        # Reading the loss waits until the GPU has finished its queue.
        every = FINITE_CHECK_STEPS if self.accelerator.device.type == "cuda" else 1
        began = time.monotonic()
        # PyTorch reports a dead loader process by a signal, which can arrive during a step.
        with loader_failures_explained():
            for batch in self.loader.epoch(self.images, batches):
                with self.stop.held():
                    waited = time.monotonic() - began
                    self._note_bad(batch.bad)
                    position.lr = set_rates(self.optimizer, config.schedule, self._done)
                    torch.manual_seed(
                        hash((config.loop.seed, position.step, self.accelerator.process_index)) % 2**63
                    )
                    # The loss of a batch is divided by its size, blanks included.
                    loss_sum += self._step(_without_blanks(batch)) * len(batch.images)
                    loss_images += int((batch.weights > 0).sum())
                    position.step += 1
                    position.step_in_epoch += 1
                    position.images = min(position.step_in_epoch * self.global_batch, len(self.labels))
                    self.ema.update(self.model, position.step)
                    self._measure_progress()
                    due = time.monotonic() - self._saved >= 60 * config.loop.save_minutes
                    last_step = self._done >= 1 or position.step_in_epoch == self.steps_per_epoch
                    if position.step % every == 0 or due or last_step or self.stop.asked:
                        position.loss_sum += loss_sum.item()
                        position.loss_images += loss_images
                        loss_sum.zero_()
                        loss_images = 0
                        self._check_finite()
                    now = time.monotonic()
                    position.epoch_seconds += now - began
                    position.wait_seconds += waited
                    began = now
                    self._show_step()
                    if last_step:
                        break
                    if due:
                        self.save()
                        began = time.monotonic()

    def _step(self, batch: Batch) -> Tensor:
        """Update the weights from one batch, in smaller parts if memory runs out."""
        while True:
            try:
                return self._try_step(batch)
            except (torch.OutOfMemoryError, RuntimeError) as error:
                if not _is_out_of_memory(error):
                    raise
                parts = self.position.micro_batches
                halvings = (parts // self.config.loop.accumulate).bit_length() - 1
                if halvings == MAX_HALVINGS or 2 * parts * LEAST_IMAGES > len(batch.images):
                    raise TrainingError(
                        f"out of memory even in {parts} micro-batches of "
                        f"{-(-len(batch.images) // parts)} images; "
                        "lower loop.batch_size or data.resolution with --set"
                    ) from error
            self.position.micro_batches *= 2
            self.optimizer.zero_grad()
            if torch.cuda.is_available():
                torch.cuda.empty_cache()
            self.progress.say(
                f"out of memory: going on with {self.position.micro_batches} micro-batches of "
                f"{-(-len(batch.images) // self.position.micro_batches)} images; the batch stays "
                f"{self.global_batch}"
            )

    def _try_step(self, batch: Batch) -> Tensor:
        device = self.accelerator.device
        images = batch.images.to(device, non_blocking=True)
        images = (images.float() - self.mean) / self.std
        targets = labels = batch.labels.to(device, non_blocking=True)
        weights = batch.weights.to(device, non_blocking=True)
        if self.class_weights is not None:
            weights = weights * self.class_weights[labels]
        if self.mix:
            images, targets = self.mix(images, labels)
        if self.config.loop.channels_last:
            images = images.contiguous(memory_format=torch.channels_last)
        parts = max(1, min(self.position.micro_batches, len(images) // LEAST_IMAGES))
        total = torch.zeros((), device=device)
        # The sizes of these parts differ by at most one, so none is too small for batch norm.
        pieces = (part.tensor_split(parts) for part in (images, targets, weights, batch.indices))
        epoch = self._done * self.config.schedule.epochs
        chunks = [
            Views(images, targets, weights, indices, epoch)
            for images, targets, weights, indices in zip(*pieces, strict=True)
        ]
        for number, views in enumerate(chunks, start=1):
            last = number == len(chunks)
            with nullcontext() if last else self.accelerator.no_sync(self.network):
                loss = self.criterion(self.forward, views)
                loss = loss * (len(views.images) / len(images))
                self.accelerator.backward(loss)
            total += loss.detach()
        if self.config.optimizer.clip_norm:
            self.accelerator.clip_grad_norm_(self.wrapped.parameters(), self.config.optimizer.clip_norm)
        self.optimizer.step()
        self.optimizer.zero_grad()
        return total

    def _end_epoch(self) -> None:
        position = self.position
        self._check_finite()
        self._check_weights()
        self._share_bad()
        due = self._done >= 1 or (position.epoch + 1) % self.config.loop.validate_every == 0
        validated = self.validate() if due else {}
        with self.stop.held():
            self._record_epoch(validated)
        if due:
            # If the validation has used the rest of the time, this epoch is the last.
            self._measure_progress()

    def _record_epoch(self, validated: dict[str, float]) -> None:
        position = self.position
        entry: dict[str, Any] = {
            "epoch": position.epoch + 1,
            "step": position.step,
            "loss": position.loss_sum / max(position.loss_images, 1),
            **validated,
            "lr": position.lr,
            "resolution": position.resolution,
            "images_per_second": position.images / max(position.epoch_seconds, 1e-9),
            "data_wait": position.wait_seconds / max(position.epoch_seconds, 1e-9),
            "seconds": position.epoch_seconds,
            "bad_images": len(self.bad),
        }
        self._top1 = entry.get("top1", self._top1)
        entry["best"] = "top1" in entry and self._is_best(entry["top1"], entry["val_loss"])
        position.step_in_epoch = 0
        if self.accelerator.is_main_process:
            if entry["best"]:
                position.best_top1, position.best_loss = entry["top1"], entry["val_loss"]
                self._save_best(entry["epoch"], entry["top1"])
            self.run.write_entries([*self.run.entries(), entry])
            if validated:
                self.curves.update(self.run.entries())
            self.progress.say(epoch_line(entry, self.config.schedule.epochs, left=self._time_left()))
        self.accelerator.log(
            {key: value for key, value in entry.items() if isinstance(value, int | float)},
            step=position.epoch + 1,
        )
        self.save()

    def _is_best(self, top1: float, loss: float) -> bool:
        position = self.position
        # A checkpoint of an earlier version has no highest.
        position.highest_top1 = max(position.highest_top1, position.best_top1, top1)
        return is_better(
            top1,
            loss,
            kept=(position.best_top1, position.best_loss),
            highest=position.highest_top1,
            images=len(self.val_source.samples),
        )

    @torch.inference_mode()
    def _count_correct(self) -> Tensor:
        """Return how many images this process saw, how many were right at top 1 and top 5, and their loss."""
        counts = torch.zeros(4, dtype=torch.float64, device=self.accelerator.device)
        batches = evaluation_batches(
            EvaluationImages(self.val_source, self.config.data.preprocess),
            batch_size=max(1, min(self.batch_size, 128)),
            workers=self.workers,
            memory=self.memory,
            rank=self.accelerator.process_index,
            world=self.accelerator.num_processes,
        )
        for batch in batches:
            self._note_bad(batch.bad)
            images = batch.images.to(self.accelerator.device)
            # accelerate prepared the wrapped network, and this may be a part of it.
            with self.accelerator.autocast():
                logits = self.model((images.float() - self.mean) / self.std).float()
            labels, seen = batch.labels.to(logits.device), batch.weights.to(logits.device) > 0
            best = logits.topk(min(5, logits.shape[1])).indices == labels[:, None]
            losses = nn.functional.cross_entropy(logits, labels, reduction="none")
            counts += torch.stack(
                [seen.sum(), (best[:, 0] & seen).sum(), (best.any(1) & seen).sum(), losses[seen].sum()]
            )
        return counts

    def _state(self) -> dict[str, Any]:
        scaler = self.accelerator.scaler
        return {
            "model": self.wrapped.state_dict(),
            "ema": self.ema.state,
            "optimizer": self.optimizer.state_dict(),
            "scaler": scaler.state_dict() if scaler is not None else {},
            "position": asdict(self.position),
            "bad": self.bad,
        }

    def _measure_progress(self) -> None:
        """Set the fraction of the run that is over: of its steps or of its time, whichever is larger.

        All processes must call this together, because the main process' clock decides for all.
        """
        done = self.position.step / self.total_steps
        if self.config.loop.time:
            whole = 60 * self.config.loop.time
            last = self.finishing + VALIDATIONS_RESERVE * self._seconds_to_validate()
            budget = whole - min(last, MOST_RESERVED * whole)
            spent = torch.tensor((time.monotonic() - self._clock) / budget, device=self.accelerator.device)
            if self.accelerator.num_processes > 1:
                spent = broadcast(spent)
            done = max(done, float(spent.item()))
        self._done = min(done, 1.0)

    def _seconds_to_validate(self) -> float:
        """Return how long a validation takes: as the last one did, else estimated from the steps so far."""
        position, data = self.position, self.config.data
        if position.validation_seconds or not position.images:
            return position.validation_seconds
        pixels = (data.preprocess.crop / position.resolution) ** 2
        images = len(self.val_source.samples) / self.accelerator.num_processes
        each = position.epoch_seconds * self.accelerator.num_processes / position.images
        return float(VALIDATION_SHARE * pixels * each * images)

    def _time_left(self) -> float:
        spent = time.monotonic() - self._clock
        return spent * (1 - self._done) / max(self._done, 1e-9)

    def _show_step(self) -> None:
        position = self.position
        self.progress.step(
            step_line(
                position.epoch + 1,
                self.config.schedule.epochs,
                position.step_in_epoch / self.steps_per_epoch,
                loss=position.loss_sum / max(position.loss_images, 1),
                top1=self._top1,
                rate=position.images / max(position.epoch_seconds, 1e-9),
                waiting=position.wait_seconds / max(position.epoch_seconds, 1e-9),
                left=self._time_left(),
            )
        )

    def _check_finite(self) -> None:
        if not np.isfinite(self.position.loss_sum):
            raise TrainingError(
                f"the loss is not finite at step {self.position.step} (epoch {self.position.epoch + 1}); "
                f"the last checkpoint is intact\n"
                f"       {_DIVERGENCE_ADVICE}"
            )

    def _check_weights(self) -> None:
        """Raise if a step has made weights not finite, even with a finite loss; they are never saved."""
        position = self.position
        if not all(bool(torch.isfinite(value).all()) for value in self.wrapped.state_dict().values()):
            raise TrainingError(
                f"the weights are not finite after step {position.step} (epoch {position.epoch + 1}); "
                f"the last checkpoint is intact\n       {_DIVERGENCE_ADVICE}"
            )

    def _note_bad(self, images: list[BadImage]) -> None:
        for image in images:
            self.bad.setdefault(image.key, image.message)
        if images:
            self._check_bad()

    def _share_bad(self) -> None:
        """Gather the unreadable images of all processes and write their list."""
        if self.accelerator.num_processes > 1:
            self.bad = dict(sorted(gather_object(list(self.bad.items()))))
            self._check_bad()
        elif self.bad:
            self._write_bad()

    def _check_bad(self) -> None:
        allowed = self.config.data.max_bad * (len(self.labels) + len(self.val_source.samples))
        if self.accelerator.is_main_process:
            self._write_bad()
        if len(self.bad) > allowed:
            raise DataError(
                f"{len(self.bad)} images cannot be read, more than data.max_bad={self.config.data.max_bad:g} "
                f"allows; they are listed in {self.run.bad_images}\n"
                "       repair or remove them, or raise the limit with --set data.max_bad=..."
            )

    def _write_bad(self) -> None:
        write_text(self.run.bad_images, "".join(f"{key}\t{self.bad[key]}\n" for key in sorted(self.bad)))


def check_batch(loop: LoopConfig, images: int, *, world: int) -> None:
    """Refuse batches that do not divide among ``world`` processes, or that give batch norm a single image.

    Raises:
        UsageError: ``loop.batch_size`` does not fit the processes or ``loop.accumulate``.
        DataError: there is one image to train on.
    """
    if loop.batch_size % world:
        raise UsageError(f"loop.batch_size {loop.batch_size} is not a multiple of {world} processes")
    if loop.batch_size // world // loop.accumulate < LEAST_IMAGES:
        smallest = LEAST_IMAGES * world * loop.accumulate
        shared = f" over {world} processes" if world > 1 else ""
        split = f" in loop.accumulate={loop.accumulate} parts" if loop.accumulate > 1 else ""
        raise UsageError(
            f"loop.batch_size {loop.batch_size}{shared}{split} trains on one image at a time, and batch norm "
            f"needs {LEAST_IMAGES}; set loop.batch_size to {smallest} or more"
        )
    if images < LEAST_IMAGES * world:
        raise DataError(
            f"there are {images} images to train on, and batch norm needs {LEAST_IMAGES} for each of {world} "
            f"process{'es' * (world > 1)}; give more images"
        )


def _without_blanks(batch: Batch) -> Batch:
    """Replace blanks by images of the same batch, with weight 0.

    Batch norm and mixing then see images only. Copies of a single image have no variance, and gradients
    through batch norm would be unbounded; so a single image gets weight 0, too.
    """
    there, blank = (torch.nonzero(mask).flatten() for mask in (batch.weights > 0, batch.weights == 0))
    if len(there) == 0 or len(blank) == 0:
        return batch
    if len(there) < LEAST_IMAGES:
        batch = replace(batch, weights=torch.zeros_like(batch.weights))
    rows = torch.arange(len(batch.weights))
    rows[blank] = there[torch.arange(len(blank)) % len(there)]
    return replace(batch, images=batch.images[rows], labels=batch.labels[rows])


def _first_difference(error: RuntimeError) -> str:
    """Return the first difference that PyTorch found between a state and a network."""
    lines = str(error).splitlines()
    return lines[min(1, len(lines) - 1)].strip() if lines else type(error).__name__


def _is_out_of_memory(error: RuntimeError) -> bool:
    return isinstance(error, torch.OutOfMemoryError) or "can't allocate memory" in str(error)
