"""Parquet files as Hugging Face writes them: ``image {bytes, path}`` and an integer ``label``.

Parquet gives access to row groups, not rows: reading one image reads its row group. Each process keeps the
last few row groups in memory. Reading in order is therefore fast; a shuffle over many large row groups is
slow. Write such images to shards (:func:`ghostclas.data.shards.write_shards`) before training on them.
"""

from __future__ import annotations

import json
import os
import threading
from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from ghostclas.data.archives import reason
from ghostclas.data.labels import read_label_file, resolve_labels
from ghostclas.data.source import Samples
from ghostclas.errors import DataError, GhostclasError, ImageError
from ghostclas.extras import require
from ghostclas.files import check_regular

CACHE_BYTES = 256 * 1024 * 1024
"""How much of row groups each process keeps; the one in use stays even if it is larger."""

# The smallest PNG has 67 bytes, but equal images may be stored once.
_LEAST_IMAGE_BYTES = 16
_FEW_ROWS = 10_000
_LEAST_LIMIT = 128 << 20
_UNPACKED = 20
_BATCH = 65_536
_IMAGES_AT_A_TIME = 16
_LABEL_COLUMNS = ("label", "labels", "fine_label", "cls")


class ParquetSource:
    """A :class:`~ghostclas.data.source.Source` over Parquet files, in the order of their rows.

    Attributes:
        location: where the files are, for messages.
        files: the files.
        classes: class names by index, from the ClassLabel feature in the schema if there is one.
        samples: keys are the images' paths if all have different ones, else ``<file>/<row>``.
    """

    def __init__(self, files: Sequence[Path], location: str, label_file: Path | None = None) -> None:
        """Open ``files`` as one source; see :func:`open_parquet`."""
        self.location = location
        self.files = tuple(files)
        labels: list[str] = []
        paths: list[str | None] = []
        numbered: list[str] = []
        groups: list[tuple[int, int, int]] = []
        names: tuple[str, ...] | None = None
        for position, file in enumerate(self.files):
            with _errors_of(file), _opened(file) as parquet:
                self.image_column, label_column, written = _columns(parquet.schema_arrow, file)
                if position and written != names:
                    raise DataError(f"{file} has other class names than {self.files[0]}")
                names = written
                rows = [
                    parquet.metadata.row_group(group).num_rows
                    for group in range(parquet.metadata.num_row_groups)
                ]
                _check_rows(rows, file)
                row = 0
                for batch in parquet.iter_batches(
                    _BATCH, columns=[label_column, f"{self.image_column}.path"]
                ):
                    inside = batch[self.image_column].flatten()[0]
                    for label, path in zip(batch[label_column].to_pylist(), inside.to_pylist(), strict=True):
                        if label is None or (isinstance(label, int) and label < 0):
                            raise DataError(f"{file}, row {row}: no label; remove the unlabelled rows")
                        labels.append(str(label))
                        paths.append(path)
                        numbered.append(f"{file.stem}/{row}")
                        row += 1
                if row != sum(rows):
                    raise DataError(f"{file} is damaged: it holds {row} rows instead of {sum(rows)}")
                groups += [(position, group, number) for group, number in enumerate(rows)]
        if not labels:
            raise DataError(f"{location} holds no row")
        if label_file:
            names = read_label_file(label_file)
        self.classes, indices = resolve_labels(labels, names, location)
        distinct = None not in paths and len(set(paths)) == len(paths)
        self.samples = Samples(zip(paths if distinct else numbered, indices.tolist(), strict=True))  # type: ignore[arg-type]
        self._groups = groups
        self._first = np.cumsum([0, *(rows for _, _, rows in groups)])
        self._process = os.getpid()
        self._forget()

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of image ``index``.

        Raises:
            ImageError: the file is gone or damaged, or the row holds a path instead of the image.
        """
        index = range(len(self.samples))[index]
        group = int(np.searchsorted(self._first, index, side="right")) - 1
        data = self._images(group)[index - int(self._first[group])].as_py()
        if data is None:
            key = self.samples.key(index)
            raise ImageError(
                "not_found", f"{self.location}: {key} is only a path there; the image is not inside"
            )
        return bytes(data)

    def _images(self, group: int) -> Any:
        with self._lock:
            if self._process != os.getpid():
                self._process = os.getpid()
                self._cache.clear()
            if group in self._cache:
                self._cache.move_to_end(group)
                return self._cache[group]
            position, number, _ = self._groups[group]
            file = self.files[position]
            try:
                with _errors_of(file), _opened(file) as parquet:
                    images = _image_bytes(parquet, file, number, self.image_column)
            except DataError as error:
                raise ImageError("unreadable", f"cannot read row group {number}: {error}") from None
            self._cache[group] = images
            while len(self._cache) > 1 and sum(kept.nbytes for kept in self._cache.values()) > CACHE_BYTES:
                self._cache.popitem(last=False)
            return images

    def __getstate__(self) -> dict[str, Any]:
        return {
            name: value
            for name, value in self.__dict__.items()
            if name not in ("_lock", "_cache", "_process")
        }

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._forget()

    def _forget(self) -> None:
        self._lock = threading.Lock()
        self._cache: OrderedDict[int, Any] = OrderedDict()
        self._process = os.getpid()


def open_parquet(files: Sequence[Path], location: str, label_file: Path | None = None) -> ParquetSource:
    """Open Parquet files as one source. It reads labels and paths now, images on demand.

    Args:
        files: the files in order.
        location: how messages call them.
        label_file: class names by index, if the files do not name them.

    Raises:
        DataError: a file that cannot be read, has no image or label column, or a row without a label.
        MissingExtraError: pyarrow is not installed.
    """
    return ParquetSource(files, location, label_file)


def _opened(file: Path) -> Any:
    check_regular(file)
    return require("pyarrow.parquet", extra="bigdata").ParquetFile(file)


@contextmanager
def _errors_of(file: Path) -> Iterator[None]:
    try:
        yield
    except GhostclasError:
        raise
    except Exception as error:  # Arrow raises nearly every class there is for a damaged file
        raise DataError(f"cannot read {file} as Parquet: {reason(error)}") from None


def _check_rows(rows: Sequence[int], file: Path) -> None:
    """Refuse more rows than images fit into the file: a billion equal labels take a few bytes."""
    fitting = _FEW_ROWS + file.stat().st_size // _LEAST_IMAGE_BYTES
    if min(rows, default=0) < 0 or sum(rows) > fitting:
        raise DataError(
            f"{file} claims to hold {sum(rows):,} images, for which it is too small; get it again"
        )


def _image_bytes(parquet: Any, file: Path, group: int, image_column: str) -> Any:
    """Return the images of a row group as an Arrow array of bytes, read in parts and up to a limit.

    Images do not compress, except where one is repeated: a small file could unpack to any size.
    """
    limit = _LEAST_LIMIT + _UNPACKED * file.stat().st_size
    parts, size = [], 0
    for batch in parquet.iter_batches(
        _IMAGES_AT_A_TIME, row_groups=[group], columns=[f"{image_column}.bytes"]
    ):
        images = batch[image_column].flatten()[0]
        parts.append(images)
        size += images.nbytes
        if size > limit:
            raise DataError(f"{file} unpacks to more than {limit:,} bytes")
    return require("pyarrow", extra="bigdata").chunked_array(parts)


def _columns(schema: Any, file: Path) -> tuple[str, str, tuple[str, ...] | None]:
    """Return the image column, the label column, and the class names if the schema has them."""
    features = _features(schema, file)
    images = [
        field.name
        for field in schema
        if str(field.type).startswith("struct<") and {"bytes", "path"} <= {part.name for part in field.type}
    ]
    labels = [name for name, feature in features.items() if feature.get("_type") == "ClassLabel"]
    labels = labels or [name for name in _LABEL_COLUMNS if name in schema.names]
    if len(images) != 1 or not labels:
        raise DataError(
            f"{file} has the columns {', '.join(schema.names)}; expected image {{bytes, path}} and label"
        )
    label = "label" if "label" in labels else labels[0]
    _check_types(schema, images[0], label, file)
    names = features.get(label, {}).get("names")
    return images[0], label, tuple(map(str, names)) if isinstance(names, list) else None


def _check_types(schema: Any, images: str, label: str, file: Path) -> None:
    types = require("pyarrow", extra="bigdata").types
    parts = {part.name: part.type for part in schema.field(images).type}
    wanted = {
        f"{images}.bytes": (parts["bytes"], (types.is_binary, types.is_large_binary, types.is_null)),
        f"{images}.path": (parts["path"], (types.is_string, types.is_large_string, types.is_null)),
        label: (
            schema.field(label).type,
            (
                types.is_integer,
                types.is_string,
                types.is_large_string,
                types.is_boolean,
                types.is_floating,
                types.is_dictionary,
            ),
        ),
    }
    for name, (kind, fitting) in wanted.items():
        if not any(fits(kind) for fits in fitting):
            raise DataError(
                f"{file}: the column {name} holds {kind}; expected image {{bytes, path}} and label"
            )


def _features(schema: Any, file: Path) -> Mapping[str, Any]:
    content = (schema.metadata or {}).get(b"huggingface")
    if content is None:
        return {}
    try:
        return {
            name: feature
            for name, feature in json.loads(content)["info"]["features"].items()
            if isinstance(feature, dict)
        }
    except (ValueError, KeyError, AttributeError, TypeError, RecursionError):
        raise DataError(f"{file} has damaged Hugging Face metadata in its schema") from None
