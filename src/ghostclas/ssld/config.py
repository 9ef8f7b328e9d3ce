"""Settings of the teacher, of mining, of distillation and of fine-tuning. Needs no torch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from ghostclas.spec import Fraction, Frozen, Interpolation, NonNegative, Positive, Resolution, Triple


class TeacherConfig(Frozen):
    """The teacher and the preprocessing of its images.

    ``model`` is a bundle, a run, ``default``, an ``.onnx`` file, ``efficientnet_lite0`` to ``2``, or
    ``timm:NAME``; ``weights`` is a file for the last. ``classes`` is a text file that names the outputs, one
    a line, where the model does not. ``mapping`` is a CSV of ``output,class`` rows where names do not match.
    The other settings replace the preprocessing of the model or, without one, ImageNet's; a bundle's is
    fixed.
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
    """The images taken from the pool: for each class the ``top_k`` most probable ones of at least ``floor``.

    ``neighbours`` validation images with the most similar features are compared with each image of the pool,
    besides those with close perceptual hashes; 0 for none. ``max_bad`` is the part of the pool that may be
    unreadable. ``pool`` is the path of the unlabelled images, ``cache`` the directory of the teacher's logits
    of whole images; a directory in the user's cache when absent.
    """

    pool: str | None = None
    cache: str | None = None
    top_k: Annotated[int, Field(ge=1)] = 4000
    floor: Fraction = 0.0
    neighbours: Annotated[int, Field(ge=0, le=1000)] = 10
    duplicates_in_pool: bool = True
    max_bad: Fraction = 0.01


class FinetuneConfig(Frozen):
    """After distillation: training on the labels at ``lr`` times the rate, optionally with larger images."""

    epochs: Positive = 30
    warmup_epochs: NonNegative = 0
    lr: Positive = 0.01
    resolution: Resolution | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] = 0.1


class DistilConfig(Frozen):
    """Learning from a teacher's answers instead of labels (docs/ssld.md).

    ``loss`` is ``js`` (half of both directions of KL), ``kl`` or ``dkd``; ``temperature`` is for the last
    two, ``dkd_alpha`` and ``dkd_beta`` for the last. ``batch_norm``: whether a torch teacher normalises with
    the batch's statistics (``train``) or with the learned ones (``eval``). With ``views`` 0 the teacher
    answers every view during training; with n, training starts by storing n views of each image and the
    teacher's answers. ``resolution`` is the side of the teacher's images, by default that of the student's.
    ``features`` is the weight of the loss on each feature map; 0 leaves feature maps out. For the first
    ``blockwise_epochs`` each block of the student takes the teacher's feature map as its input.
    ``mined`` is the list that mining wrote, ``cache`` the directory of stored answers. ``adapt`` is whether
    the teacher first trains on the labels, for ``adapt_epochs`` or, when absent, as long as its recipe says.
    ``mine`` and ``finetune`` are the steps before and after.
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
