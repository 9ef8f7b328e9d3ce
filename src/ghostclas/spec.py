"""Frozen value types that all rooms share. They hold data; nothing here reads, decodes or runs anything."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from html import escape
from typing import Annotated, Any, Literal, Self

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]
NonNegative = Annotated[float, Field(ge=0)]
Resolution = Annotated[int, Field(ge=32, le=1024, multiple_of=32)]
"""The side in pixels of a square that networks take."""
Triple = tuple[float, float, float]
Interpolation = Literal["nearest", "bilinear", "bicubic", "lanczos"]
FlavourName = Literal["paddleclas", "original"]
IMAGENET_MEAN: Triple = (0.485, 0.456, 0.406)
IMAGENET_STD: Triple = (0.229, 0.224, 0.225)

_SHOWN = 80
"""So many signs of the name of a field are shown."""


class Frozen(BaseModel):
    """A value: immutable, compared by content; unknown keys and numbers that are not finite are refused."""

    model_config = ConfigDict(frozen=True, extra="forbid", protected_namespaces=(), allow_inf_nan=False)


class ModelSpec(Frozen):
    """What rebuilds a network: its family (see ``families``), width, flavour and the size of its output."""

    name: str
    family: Annotated[str, Field(pattern=r"^[a-z][a-z0-9_]*$")] = "ghostnet"
    width: Annotated[float, Field(gt=0, le=8)] = 1.0
    flavour: FlavourName = "paddleclas"
    num_classes: Annotated[int, Field(ge=1)] = 1000
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.2


class ResizeSpec(Frozen):
    """Scale so that the short side becomes ``short_side`` pixels.

    With ``library``, the photo is scaled to a whole size before it is cut, with the arithmetic of that
    library, as PaddleClas does: ``opencv`` has fixed-point bilinear without antialiasing, ``pillow`` has
    antialiasing. It can then also be stretched to ``size``, (width, height), whose smaller side is
    ``short_side``.
    """

    short_side: Annotated[int, Field(ge=1, le=8192)] = 256
    interpolation: Interpolation = "bilinear"
    antialias: bool = True
    library: Literal["opencv", "pillow"] | None = None
    size: tuple[Annotated[int, Field(ge=1, le=8192)], Annotated[int, Field(ge=1, le=8192)]] | None = None

    @property
    def shrinks_decoder(self) -> bool:
        """Whether a JPEG may be decoded smaller than it is."""
        return self.antialias and self.interpolation != "nearest" and self.library is None

    @model_serializer(mode="wrap")
    def _without_what_is_not_set(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        # Manifests without these fields keep their bytes, and their digests.
        fields: dict[str, Any] = serialise(self)
        return {name: value for name, value in fields.items() if value is not None}

    @model_validator(mode="after")
    def _library_can(self) -> Self:
        if self.size is not None and (self.library is None or self.short_side != min(self.size)):
            raise ValueError(f"size {list(self.size)} needs a library, and its smaller side as short_side")
        wanted = {"opencv": (("bilinear",), False), "pillow": (("bilinear", "bicubic", "lanczos"), True)}
        if self.library is not None:
            interpolations, antialias = wanted[self.library]
            if self.interpolation not in interpolations or self.antialias != antialias:
                raise ValueError(
                    f"{self.library} scales by {' or '.join(interpolations)} with antialias "
                    f"{str(antialias).lower()}, not by {self.interpolation} with "
                    f"{str(self.antialias).lower()}"
                )
        return self


class PreprocessSpec(Frozen):
    """From a decoded photo to the network's input; implemented once, in ``imaging``.

    ``crop`` is the side in pixels of the centred square that the network sees. ``mean`` and ``std``, in units
    of the [0, 1] range, are what the files of a bundle do inside, not their callers; ``paddle_legacy`` and
    ``paddlelite`` are the exceptions.
    """

    resize: ResizeSpec = ResizeSpec()
    crop: Annotated[int, Field(ge=32, le=8192, multiple_of=32)] = 224
    mean: Triple = IMAGENET_MEAN
    std: Triple = IMAGENET_STD
    color: Literal["RGB"] = "RGB"
    exif: bool = True

    @model_validator(mode="after")
    def _crop_fits(self) -> PreprocessSpec:
        if self.crop > self.resize.short_side:
            raise ValueError(f"crop {self.crop} is larger than resize.short_side {self.resize.short_side}")
        if min(self.std) <= 0:
            raise ValueError(f"std must be positive, got {self.std}")
        return self


class PostprocessSpec(Frozen):
    """From logits to scores: ``softmax(logits / temperature)``.

    A photo whose best score is below ``unknown_below`` is unknown.
    """

    softmax: Literal[True] = True
    temperature: Annotated[float, Field(ge=0.01, le=100)] = 1.0
    unknown_below: Annotated[float, Field(ge=0, le=1)] = 0.0


class Label(Frozen):
    """One class with the probability that the model gives it."""

    index: int
    label: str
    score: float


class PredictionError(Frozen):
    """Why a photo has no labels. ``code`` is stable, ``message`` is for people."""

    code: str
    message: str


class Prediction(Frozen):
    """The answer for one photo: the same object from the command line and from Python."""

    file: str | None
    top: tuple[Label, ...] = ()
    unknown: bool = False
    error: PredictionError | None = None

    @property
    def label(self) -> str | None:
        """The best label; ``None`` where there is an error."""
        return self.top[0].label if self.top else None

    @property
    def score(self) -> float | None:
        """The probability of the best label, 0 to 1; ``None`` where there is an error."""
        return self.top[0].score if self.top else None

    def _repr_html_(self) -> str:
        """Show the prediction in a notebook: its labels with bars, or its error."""
        caption = "".join(f"<caption>{escape(text)}</caption>" for text in (self.file,) if text)
        if self.error is not None:
            return f"<table>{caption}<tr><td>{escape(self.error.message)}</td></tr></table>"
        unknown = "<tr><td colspan='3'>unknown; the nearest are</td></tr>" if self.unknown else ""
        rows = "".join(
            f"<tr><td style='text-align:left'>{escape(label.label)}</td>"
            f"<td><progress value='{label.score:.4f}'></progress></td><td>{label.score:.2%}</td></tr>"
            for label in self.top
        )
        return f"<table>{caption}{unknown}{rows}</table>"


class Metric(Frozen):
    """A measured accuracy: percentages over ``images`` images, ``through`` a runtime."""

    dataset: str
    images: int
    top1: float
    top5: float | None = None
    through: str


def first_problem(error: ValidationError) -> str:
    """Return the first thing that is wrong with a value, where it is, and how many more there are."""
    problem = error.errors(include_url=False)[0]
    where = ".".join(map(str, problem["loc"]))[:_SHOWN]
    what = problem["msg"].removeprefix("Value error, ")[: 5 * _SHOWN]
    more = f" (and {error.error_count() - 1} more)" if error.error_count() > 1 else ""
    return f"{where}: {what}{more}" if where else f"{what}{more}"


def label_hash(classes: Sequence[str]) -> str:
    """Return a 16-digit hash of the ordered class names; equal hashes mean equal class indices."""
    digest = hashlib.sha256()
    for name in classes:
        digest.update(name.encode() + b"\0")
    return digest.hexdigest()[:16]
