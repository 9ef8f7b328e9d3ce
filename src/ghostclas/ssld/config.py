"""Settings of the teacher, of mining, of distillation and of fine-tuning. Needs no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ghostclas.spec import Fraction, Frozen, Interpolation, NonNegative, Positive, Resolution, Triple


class TeacherConfig(Frozen):
    """Who teaches.

    ``model`` is a bundle, a run, ``default``, an ``.onnx`` file, ``efficientnet_lite0`` to ``2``, or
    ``timm:NAME``; ``weights`` is a file for the last. ``classes`` names the outputs, one a line, where the
    model does not; ``mapping`` is a CSV of ``output,class`` rows where names do not match. The rest says how
    pictures are prepared, in place of what the model says or of ImageNet's usual; a bundle's is fixed.
    """

    model: str
    weights: str | None = None
    classes: str | None = None
    mapping: str | None = None
    resolution: Resolution | None = None
    resize: Annotated[int, Field(ge=32, le=2048)] | None = None
    interpolation: Interpolation | None = None
    mean: Triple | None = None
    std: Triple | None = None


class MineConfig(Frozen):
    """What is taken from the pool: for each class the ``top_k`` likeliest pictures of at least ``floor``.

    ``neighbours`` is how many validation pictures, those whose features are most like its own, are compared
    with each picture of the pool, besides those whose perceptual hashes are close; 0 for none.
    ``max_bad`` is the part of the pool that may be unreadable. ``pool`` is where the unlabelled pictures are,
    ``cache`` where the teacher's answers to whole pictures are kept; in the user's cache when absent.
    """

    pool: str | None = None
    cache: str | None = None
    top_k: Annotated[int, Field(ge=1)] = 4000
    floor: Fraction = 0.0
    neighbours: Annotated[int, Field(ge=0, le=1000)] = 10
    duplicates_in_pool: bool = True
    max_bad: Fraction = 0.01


class FinetuneConfig(Frozen):
    """After distillation: the labels, at ``lr`` times the rate, optionally on larger pictures."""

    epochs: Positive = 30
    warmup_epochs: NonNegative = 0
    lr: Positive = 0.01
    resolution: Resolution | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1


class DistilConfig(Frozen):
    """Learning from a teacher's answers instead of labels (docs/ssld.md).

    ``loss`` is ``js`` (half of both directions of KL), ``kl`` or ``dkd``; ``temperature`` is for the last
    two, ``dkd_alpha`` and ``dkd_beta`` for the last. ``batch_norm``: whether a teacher that runs in torch
    normalises by the batch (``train``) or by what it learned (``eval``). ``views``: 0 asks the teacher about
    every view as it comes; n stores n views of each image and the teacher's answers before training.
    ``resolution`` is what the teacher sees, by default what the student sees. ``features`` is the weight of
    following each of the teacher's feature maps as well; 0 for its answers alone. For the first
    ``blockwise_epochs`` each block of the student takes the teacher's feature map as its input.
    ``mined`` is the list that mining wrote, ``cache`` where stored answers are kept. ``adapt`` is whether the
    teacher learns the labels first, ``adapt_epochs`` how long, as its recipe says when absent. ``mine`` and
    ``finetune`` are the steps before and after.
    """

    teacher: TeacherConfig | None = None
    loss: Literal["js", "kl", "dkd"] = "js"
    temperature: Positive = 1.0
    dkd_alpha: NonNegative = 1.0
    dkd_beta: NonNegative = 8.0
    batch_norm: Literal["train", "eval"] = "train"
    views: Annotated[int, Field(ge=0, le=4096)] = 0
    resolution: Resolution | None = None
    features: NonNegative = 0.0
    blockwise_epochs: NonNegative = 0.0
    mined: str | None = None
    cache: str | None = None
    adapt: bool | None = None
    adapt_epochs: Positive | None = None
    mine: MineConfig = MineConfig()
    finetune: FinetuneConfig = FinetuneConfig()
