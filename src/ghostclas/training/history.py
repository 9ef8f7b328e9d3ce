"""How a run learned: the charts and facts in its report."""

from __future__ import annotations

from collections.abc import Sequence

from ghostclas.evaluation.logs import Entry, best_entry, column, spent, top1_line
from ghostclas.evaluation.report import Learned
from ghostclas.pages.charts import Chart, Line
from ghostclas.progress import duration
from ghostclas.training.config import TrainConfig
from ghostclas.training.facts import hardware, images, versions


def learned(
    entries: Sequence[Entry],
    config: TrainConfig,
    *,
    train_images: int,
    val_images: int,
    device: str = "cpu",
    bad_images: int = 0,
) -> Learned:
    """Return what a run's report shows about its training.

    Args:
        entries: its log, one mapping an epoch.
        config: its settings.
        train_images: how many images it learned from.
        val_images: how many images measured it after an epoch.
        device: where it ran, as torch names it.
        bad_images: how many images could not be read.
    """
    top1 = top1_line("top-1", entries, val_images)
    losses = [Line("training loss", column(entries, "loss"))]
    if validated := column(entries, "val_loss"):
        losses.append(Line("validation loss", validated))
    charts = [
        Chart(
            "Top-1 on the validation images",
            "epoch",
            [top1],
            unit=" %",
            share=True,
            note=f"The band is the 95 % interval of a measurement on {val_images:,} images.",
        ),
        Chart("Loss" if validated else "Training loss", "epoch", losses, legend=bool(validated)),
    ]
    return Learned(
        tuple(chart for chart in charts if any(line.points for line in chart.lines)),
        _facts(entries, config, train_images, val_images, device, bad_images),
    )


def _facts(
    entries: Sequence[Entry],
    config: TrainConfig,
    train_images: int,
    val_images: int,
    device: str,
    bad_images: int,
) -> dict[str, str]:
    best = best_entry(entries)
    done = len(entries)
    epochs = f"{done}" if done == config.schedule.epochs else f"{done} of {config.schedule.epochs:g}"
    sizes = sorted({config.data.resolution, *(int(size) for _, size in column(entries, "resolution"))})
    facts = {
        "Duration": f"{duration(spent(entries))} without validation",
        "Epochs": epochs + (f", the best is {best['epoch']}" if best else ""),
        "Images": images(train_images, val_images, bad_images),
        "Network": config.model.name,
        "Started from": config.provenance().get("started_from") or config.model.weights or "random weights",
        "Size": f"{', '.join(map(str, sizes))} px, validated at {config.data.preprocess.crop} px",
        "Optimizer": f"{config.optimizer.name}, learning rate {config.optimizer.lr:g}",
        "Batch": f"{config.loop.batch_size} images in {config.loop.precision}",
        "Seed": str(config.loop.seed),
        "Hardware": hardware(device),
        "Versions": versions("torch"),
    }
    return {name: str(fact) for name, fact in facts.items()}
