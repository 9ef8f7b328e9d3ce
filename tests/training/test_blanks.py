"""What fills up a batch counts for nothing."""

import json
from pathlib import Path

import torch

from ghostclas.training import resolve_config, train
from ghostclas.training.input.images import Batch
from ghostclas.training.input.sampling import PADDING, SeededIndex
from ghostclas.training.loop import _without_blanks
from tests.training.photos import photo_folder

# Three classes, the right one with 1 - 0.1 + 0.1 / 3: the least cross-entropy that there is.
FLOOR = 0.2910


def test_blanks_become_images_of_the_batch_without_weight() -> None:
    images = torch.arange(4, dtype=torch.uint8).view(4, 1, 1, 1).expand(4, 3, 2, 2)
    weights = torch.tensor([1.0, 0.0, 1.0, 0.0])
    indices = torch.tensor(
        [SeededIndex(0, 1), SeededIndex(PADDING, 0), SeededIndex(2, 3), SeededIndex(PADDING, 0)]
    )
    batch = Batch(images, torch.tensor([5, 0, 6, 0]), weights, [], indices)

    filled = _without_blanks(batch)

    assert filled.images[:, 0, 0, 0].tolist() == [0, 0, 2, 2]
    assert filled.labels.tolist() == [5, 5, 6, 6]
    assert torch.equal(filled.weights, weights)
    assert torch.equal(filled.indices, indices)


def test_an_image_alone_among_blanks_loses_its_weight() -> None:
    """Batch norm over copies of it has no variance, and its gradients no bounds."""
    images, weights = torch.rand(3, 3, 2, 2), torch.tensor([0.0, 1, 0])
    batch = Batch(images, torch.tensor([0, 4, 0]), weights, [], torch.zeros(3, 2, dtype=torch.int64))
    filled = _without_blanks(batch)
    assert filled.weights.tolist() == [0, 0, 0]
    assert all(torch.equal(image, images[1]) for image in filled.images)


def test_a_batch_of_blanks_alone_stays_what_it_is() -> None:
    blank = Batch(torch.zeros(2, 3, 2, 2), torch.zeros(2), torch.zeros(2), [], torch.zeros(2, 2))
    assert _without_blanks(blank) is blank


def test_a_folder_smaller_than_a_batch_is_learned_in_batches_of_all_its_images(tmp_path: Path) -> None:
    folder = photo_folder(tmp_path / "photos", train=7)
    changes = ["model.name=ghostnet_x0_2", "data.resolution=32", "data.workers=0", "schedule.epochs=8"]
    changes += ["loop.batch_size=64", "loop.device=cpu", "loop.ema=0.5", "optimizer.lr_batch=null"]
    changes += ["optimizer.lr=0.01", "schedule.warmup_epochs=1", "model.dropout=0"]
    config = resolve_config("scratch", changes, {"data": {"path": str(folder)}})

    run = train(config=config, output=tmp_path / "run")

    log = [json.loads(line) for line in (run.path / "log.jsonl").read_text().splitlines()]
    assert [entry["step"] for entry in log] == list(range(1, 9))
    assert all(entry["loss"] >= FLOOR for entry in log)
    assert log[-1]["loss"] < 0.9 * log[0]["loss"]
