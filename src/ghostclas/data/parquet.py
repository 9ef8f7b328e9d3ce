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
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from ghostclas.data.labels import read_label_file, resolve_labels
from ghostclas.data.source import Samples
from ghostclas.errors import DataError, ImageError
from ghostclas.extras import require

CACHE_BYTES = 256 * 1024 * 1024
"""How much of row groups each process keeps; the one in use stays even if it is larger."""

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
            with _opened(file) as parquet:
                self.image_column, label_column, written = _columns(parquet.schema_arrow, file)
                if position and written != names:
                    raise DataError(f"{file} has other class names than {self.files[0]}")
                names = written
                table = parquet.read(columns=[label_column, f"{self.image_column}.path"])
                for row, (label, image) in enumerate(
                    zip(table[label_column].to_pylist(), table[self.image_column].to_pylist(), strict=True)
                ):
                    if label is None or (isinstance(label, int) and label < 0):
                        raise DataError(f"{file}, row {row}: no label; remove the unlabelled rows")
                    labels.append(str(label))
                    paths.append((image or {}).get("path"))
                    numbered.append(f"{file.stem}/{row}")
                groups += [
                    (position, group, parquet.metadata.row_group(group).num_rows)
                    for group in range(parquet.metadata.num_row_groups)
                ]
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
                with _opened(file) as parquet:
                    column = parquet.read_row_group(number, columns=[f"{self.image_column}.bytes"])
            except (OSError, ValueError, DataError) as error:
                raise ImageError("unreadable", f"cannot read {file}, row group {number}: {error}") from None
            images = column[self.image_column].combine_chunks().field("bytes")
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
    parquet = require("pyarrow.parquet", extra="bigdata")
    try:
        return parquet.ParquetFile(file)
    except (OSError, ValueError) as error:
        raise DataError(f"cannot read {file} as Parquet: {error}") from None


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
    names = features.get(label, {}).get("names")
    return images[0], label, tuple(map(str, names)) if isinstance(names, list) else None


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
    except (ValueError, KeyError, AttributeError, TypeError):
        raise DataError(f"{file} has damaged Hugging Face metadata in its schema") from None
