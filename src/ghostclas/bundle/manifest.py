"""``manifest.json``: what a bundle says of itself, and every rule that it must keep.

The file is UTF-8 JSON. Its field ``digest`` is defined over the bytes of the file, so that a reader in any
language can check it without parsing numbers. After the first ``"digest": "`` stand 64 hexadecimal digits.
With each of them replaced by ``0``, the sha256 of the whole file is those 64 digits. A writer puts ``digest``
before every field whose content is free.

Version 1 of the schema had another digest: the sha256 of the fields without it, printed by Python's ``json``
with sorted keys and no blanks. Such bundles are read; their next writer makes them version 2.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Final, Literal, Self, TypeVar

from pydantic import (
    Field,
    JsonValue,
    SerializerFunctionWrapHandler,
    ValidationError,
    model_serializer,
    model_validator,
)

from ghostclas.errors import BundleError
from ghostclas.spec import (
    Frozen,
    Metric,
    ModelSpec,
    PostprocessSpec,
    PreprocessSpec,
    first_problem,
    label_hash,
)

SCHEMA_VERSION: Final = 2
MANIFEST = "manifest.json"
WEIGHTS = "weights.safetensors"
REFERENCE = "reference.safetensors"
RESTORE = "copy or export the bundle again"
MAX_MANIFEST = 4 * 2**20
"""Bytes. The names of ImageNet's 21,841 classes take a fifth of it."""
_MAX_CLASSES = 100_000
_MAX_FILES = 1_000
_MAX_VALUES = 50_000
"""Of all fields but ``classes`` and ``provenance``: a file has about 25, a comparison 10."""
_MAX_REMEMBERED = 100_000
"""Values of ``provenance``."""
_MAX_NAME = 1_000
_MAX_DEPTH = 32
_SHOWN = 80
_DIGEST_MARK = b'"digest": "'
_NO_DIGEST = "0" * 64

OutputRole = Literal["logits", "features"]
Precision = Literal["fp32", "fp16", "bf16", "int8"]
Made = TypeVar("Made", bound=Frozen)


class TensorSpec(Frozen):
    """An input or output of a model file. A size of ``None`` is the batch, of any length."""

    name: str
    dtype: Literal["uint8", "int8", "float16", "float32"]
    layout: Literal["NHWC", "NCHW", "NC"]
    shape: tuple[int | None, ...]

    @model_validator(mode="after")
    def _every_letter_has_a_size(self) -> Self:
        if len(self.shape) != len(self.layout):
            raise ValueError(f"layout {self.layout} has {len(self.layout)} sizes, got {list(self.shape)}")
        return self

    def size(self, letter: str) -> int | None:
        """Return the size along the axis that ``layout`` calls ``letter``."""
        return self.shape[self.layout.index(letter)]


class FileEntry(Frozen):
    """One file of a bundle.

    A file that an engine opens has ``input`` and ``output``, the logits. Files of the same format and
    precision without them lie beside it and belong to it, as the weights of a format that keeps them in a
    second file. ``features`` is a second output, where the file has one: the pooled features ``[N, D]`` that
    the last layer turns into logits.
    """

    path: str
    format: Annotated[str, Field(pattern=r"^[a-z0-9_]+$")]
    precision: Precision = "fp32"
    sha256: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    bytes: Annotated[int, Field(ge=0, lt=2**53)]
    input: TensorSpec | None = None
    output: TensorSpec | None = None
    features: TensorSpec | None = None

    @property
    def outputs(self) -> dict[OutputRole, TensorSpec]:
        """The outputs of the file, by role."""
        roles: dict[OutputRole, TensorSpec | None] = {"logits": self.output, "features": self.features}
        return {role: port for role, port in roles.items() if port is not None}

    @model_serializer(mode="wrap")
    def _without_roles_that_it_lacks(self, serialise: SerializerFunctionWrapHandler) -> dict[str, Any]:
        fields: dict[str, Any] = serialise(self)
        if self.features is None:
            del fields["features"]
        return fields

    @model_validator(mode="after")
    def _path_stays_inside(self) -> Self:
        check_name(self.path)
        if self.path.casefold() == MANIFEST:
            raise ValueError(f"{MANIFEST} cannot list itself")
        if (self.input is None) != (self.output is None):
            raise ValueError(f"{self.path} has only one of input and output")
        if self.features is not None and (self.output is None or self.features.layout != "NC"):
            raise ValueError(f"{self.path} has features that are not [N, D] beside its logits")
        return self


class FileParity(Frozen):
    """How close one file, run by one engine, came to the logits it should give.

    ``max_abs`` and ``mean_abs`` are over all images and classes, on stored pixels; ``decoded_max_abs`` is the
    same starting from the encoded images; all three are scaled down where logits are large (see
    ``verify.logit_differences``). ``top1_agreement`` is a fraction. ``tolerance`` bounds ``max_abs``.
    ``arithmetic`` is what the engine computed in where that was asked for and is not the file's precision.
    """

    file: str
    engine: str
    arithmetic: Precision | None = None
    images: int
    max_abs: float
    mean_abs: float
    top1_agreement: float
    decoded_max_abs: float | None = None
    tolerance: float
    ok: bool

    @property
    def through(self) -> str:
        """The engine and, where it is not the file's precision, what it computed in: ``openvino in bf16``."""
        return f"{self.engine} in {self.arithmetic}" if self.arithmetic else self.engine


class Manifest(Frozen):
    """What a bundle says of itself.

    ``preprocess`` is what a caller does to a photo, but for ``mean`` and ``std``: these tell what every file
    with an ``input`` does inside. Such an input is pixels from 0 to 255.
    ``classes`` are in the order of the logits and ``label_hash`` is theirs; the first of ``files`` that has
    an input is the default one; ``provenance`` is whatever plain JSON its maker wants remembered.
    """

    schema_version: Literal[2] = SCHEMA_VERSION
    name: Annotated[str, Field(min_length=1, max_length=200)]
    spec: ModelSpec
    classes: Annotated[tuple[str, ...], Field(min_length=1)]
    label_hash: str
    preprocess: PreprocessSpec
    postprocess: PostprocessSpec = PostprocessSpec()
    files: tuple[FileEntry, ...]
    metrics: tuple[Metric, ...] = ()
    provenance: dict[str, JsonValue] = Field(default_factory=dict)
    parity: tuple[FileParity, ...] = ()

    @model_validator(mode="after")
    def _agrees_with_itself(self) -> Self:
        count = len(self.classes)
        if count != self.spec.num_classes:
            raise ValueError(f"it lists {count} classes for a network with {self.spec.num_classes} outputs")
        times = Counter(self.classes)
        if repeated := [name for name, number in times.items() if number > 1]:
            raise ValueError(f"several of its classes are called {_short(repeated[0])}")
        if not all(name.strip() for name in times):
            raise ValueError("one of its classes has no name")
        if label_hash(self.classes) != self.label_hash:
            raise ValueError(
                f"label_hash is {self.label_hash}, but the names in classes have {label_hash(self.classes)}; "
                "some were changed, reordered or lost"
            )
        seen: set[str] = set()
        for entry in self.files:
            if entry.path.casefold() in seen:
                raise ValueError(f"it lists {entry.path} twice")
            seen.add(entry.path.casefold())
            self._check_shapes(entry)
        return self

    def _check_shapes(self, entry: FileEntry) -> None:
        if entry.input is None or entry.output is None:
            return
        if entry.output.layout != "NC" or entry.output.size("C") != len(self.classes):
            raise ValueError(
                f"{entry.path} has outputs {list(entry.output.shape)} for {len(self.classes)} classes"
            )
        crop = self.preprocess.crop
        sizes = entry.input.layout != "NC" and tuple(entry.input.size(letter) for letter in "HWC")
        if sizes != (crop, crop, 3):
            raise ValueError(
                f"{entry.path} takes {list(entry.input.shape)}, but preprocessing gives {crop} x {crop} RGB"
            )


def parse_manifest(content: bytes, path: Path) -> Manifest:
    """Read ``manifest.json`` of the bundle at ``path``.

    Raises:
        BundleError: it does not verify.
    """
    if len(content) > MAX_MANIFEST:
        raise BundleError(f"{path}: {MANIFEST} is longer than {MAX_MANIFEST:,} bytes, which no manifest is")
    try:
        fields = json.loads(
            content.decode(),
            object_pairs_hook=_without_repeats,
            parse_float=_finite,
            parse_constant=_refuse_constant,
        )
    except (ValueError, RecursionError, MemoryError) as error:
        raise BundleError(f"{path}: {MANIFEST} is not valid JSON ({reason(error)}); {RESTORE}") from None
    if not isinstance(fields, dict):
        raise BundleError(f"{path}: {MANIFEST} is not a JSON object; {RESTORE}")
    version = fields.get("schema_version")
    if type(version) is int and version > SCHEMA_VERSION:
        raise BundleError(
            f"{path}: made by a newer ghostclas (schema_version {_short(version)}; this one reads up to "
            f"{SCHEMA_VERSION}); upgrade with: pip install -U ghostclas"
        )
    digest = fields.pop("digest", None)
    try:
        _check_counts(fields)
        if type(version) is int and version == 1:
            right_digest: str | None = _digest_of_fields(fields)
            fields["schema_version"] = SCHEMA_VERSION
        else:
            right_digest = _digest_of_bytes(content)
        # Strict, as JSON: text and true are no numbers, and a list is a tuple.
        manifest = Manifest.model_validate_json(json.dumps(fields), strict=True)
    except ValidationError as error:
        raise BundleError(f"{path}: {MANIFEST} does not verify: {first_problem(error)}") from None
    except (ValueError, RecursionError, MemoryError) as error:
        raise BundleError(f"{path}: {MANIFEST} does not verify: {reason(error)}") from None
    if digest is None or digest != right_digest:
        raise BundleError(
            f"{path}: {MANIFEST} was changed by hand or damaged (its digest does not match); {RESTORE}, "
            "and make changes with ghostclas.bundle.update_manifest"
        )
    return manifest


def serialise(manifest: Manifest) -> bytes:
    """Return the content of ``manifest.json``: the fields and the digest."""
    fields = json.loads(manifest.model_dump_json())
    ordered = {"schema_version": fields["schema_version"], "digest": _NO_DIGEST} | fields
    content = json.dumps(ordered, indent=1, ensure_ascii=False).encode() + b"\n"
    digest = hashlib.sha256(content).hexdigest()
    return content.replace(_NO_DIGEST.encode(), digest.encode(), 1)


def make(kind: type[Made], **fields: Any) -> Made:
    """Return a ``kind`` with these fields; where they do not agree, raise BundleError."""
    try:
        return kind(**fields)
    except ValidationError as error:
        raise BundleError(f"this would be no valid bundle: {first_problem(error)}") from None


def check_name(name: str) -> None:
    """Raise ValueError for any name that could mean something outside the bundle, on any operating system."""
    parts = name.split("/")
    if len(name) > _MAX_NAME or len(parts) > _MAX_DEPTH:
        raise ValueError(
            f"the name {_short(name)} has {len(name):,} characters in {len(parts):,} levels; "
            f"{_MAX_NAME:,} in {_MAX_DEPTH} are allowed"
        )
    if re.search(r'[\x00-\x1f\\:*?"<>|]', name) or any(part in ("", ".", "..") for part in parts):
        raise ValueError(f"{name!r} is no plain relative path inside the bundle")


def _without_repeats(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Build an object; of two values for one key, readers in other languages would take another."""
    fields = dict(pairs)
    if len(fields) != len(pairs):
        repeated = next(key for key, times in Counter(key for key, _ in pairs).items() if times > 1)
        raise ValueError(f"the key {_short(repeated)} occurs twice")
    return fields


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text[:_SHOWN]} is too large for a number")
    return number


def _refuse_constant(name: str) -> float:
    raise ValueError(f"{name} is no number")


def _check_counts(fields: Mapping[str, Any]) -> None:
    """Raise ValueError for more values than a manifest has.

    Validation takes a kilobyte for each value that is wrong: 4 MB of empty objects would take gigabytes.
    """
    for key, most in (("classes", _MAX_CLASSES), ("files", _MAX_FILES)):
        value = fields.get(key)
        if isinstance(value, list | dict) and len(value) > most:
            raise ValueError(f"{key} has {len(value):,} entries; at most {most:,} are allowed")
    if isinstance(classes := fields.get("classes"), list):
        for index, name in enumerate(classes):
            if not isinstance(name, str):
                raise ValueError(f"classes.{index} is no text")
    shape = {key: value for key, value in fields.items() if key not in ("classes", "provenance")}
    _check_values(shape, _MAX_VALUES, "it")
    _check_values(fields.get("provenance"), _MAX_REMEMBERED, "provenance")


def _check_values(content: object, most: int, name: str) -> None:
    count = 0
    waiting = [content]
    while waiting:
        value = waiting.pop()
        inside = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
        count += len(inside)
        if count > most:
            raise ValueError(f"{name} has more than {most:,} values")
        waiting.extend(inside)


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def _digest_of_bytes(content: bytes) -> str | None:
    before, mark, after = content.partition(_DIGEST_MARK)
    if not mark:
        return None
    return hashlib.sha256(before + mark + _NO_DIGEST.encode() + after[len(_NO_DIGEST) :]).hexdigest()


def _digest_of_fields(fields: Mapping[str, Any]) -> str:
    """Return the digest of version 1: it hashed the fields as Python prints them."""
    canonical = json.dumps(fields, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(canonical.encode()).hexdigest()


def reason(error: Exception) -> str:
    """Return what went wrong, on one line, without the names of files; never empty."""
    text = " ".join(str(getattr(error, "strerror", None) or error).split())
    return text or ("it ends too soon" if isinstance(error, EOFError) else type(error).__name__)
