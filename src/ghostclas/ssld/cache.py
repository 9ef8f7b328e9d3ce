"""A teacher's logits on disk: shards of rows, each row found by a 32-byte key.

A cache folder belongs to one teacher and one preprocessing of images, both written in ``about.json``. A shard
is a safetensors file with ``keys``, uint8 ``[n, 32]``, and columns of n rows. A rename puts the whole shard
in place, and nothing changes it later. A kill at any instant, a full disk or several writers at once
therefore leave every row that was reported as written. Columns are memory-mapped.
"""

from __future__ import annotations

import hashlib
import json
import secrets
import time
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt
from safetensors.numpy import save

from ghostclas.errors import DataError
from ghostclas.files import read_regular, sweep, write_bytes
from ghostclas.terminal import printable

ABOUT = "about.json"
KEYS = "keys"
KEY_BYTES = 32
SCHEMA = 1

Array = npt.NDArray[Any]
Keys = npt.NDArray[np.uint8]

_MAX_HEADER = 1 << 20
_MAX_ABOUT = 1 << 20
_TYPES: Mapping[str, npt.DTypeLike] = {
    "U8": np.uint8,
    "F16": np.float16,
    "F32": np.float32,
    "U64": np.uint64,
}


class LogitCache:
    """The rows of one folder, as of when this object opened it, refreshed it or last wrote to it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._shards: list[dict[str, Array]] = []
        self._known: set[str] = set()
        self._starts = np.zeros(1, np.int64)
        self._table = _Table.of(np.empty((0, KEY_BYTES), np.uint8))

    @classmethod
    def open(
        cls, folder: Path, *, teacher: str, digest: str, outputs: int, view: Mapping[str, Any]
    ) -> LogitCache:
        """Open the cache in ``folder``, or create it.

        Args:
            folder: the directory of the cache, created if absent.
            teacher: the teacher's name, for messages.
            digest: the sha256 of the teacher's weights.
            outputs: the number of the teacher's logits.
            view: the preprocessing of images, as plain JSON.

        Raises:
            DataError: the folder holds logits of another teacher or of other views, is no cache, or cannot be
                written.
        """
        about = {
            "schema": SCHEMA,
            "teacher": teacher,
            "digest": digest,
            "outputs": outputs,
            "view": dict(view),
        }
        try:
            folder.mkdir(parents=True, exist_ok=True)
            if (folder / ABOUT).exists():
                _check(folder, about)
            elif any(not name.name.startswith(".") for name in folder.iterdir()):
                raise DataError(f"{folder} is not empty and holds no cache of logits; choose another --cache")
            else:
                write_bytes(folder / ABOUT, json.dumps(about, indent=1).encode())
            sweep(folder)
        except OSError as error:
            raise DataError(f"cannot keep logits in {folder}: {error.strerror or error}") from None
        cache = cls(folder)
        cache.refresh()
        return cache

    def __len__(self) -> int:
        return len(self._table.keys)

    def refresh(self) -> None:
        """Index the shards that appeared since; warn about a damaged one and leave it out."""
        added = []
        for path in sorted(self.folder.glob("shard-*.safetensors")):
            if path.name in self._known:
                continue
            self._known.add(path.name)
            try:
                added.append(_map(path))
            except (OSError, ValueError, KeyError) as error:
                warnings.warn(
                    printable(f"{path} is damaged ({error}); its pictures are scored again; remove it"),
                    stacklevel=2,
                )
        if added:
            self._index([*self._shards, *added])

    def find(self, keys: Keys) -> npt.NDArray[np.int64]:
        """Return the row of each key of uint8 ``[N, 32]`` as int64 ``[N]``, -1 where there is none.

        Other threads may call it while this one writes.
        """
        table = self._table
        rows = np.full(len(keys), -1, np.int64)
        if len(table.keys) and len(keys):
            first = np.searchsorted(table.prefixes, _prefixes(keys))
            inside = first < len(table.prefixes)
            candidate = table.order[np.where(inside, first, 0)]
            found = inside & (table.keys[candidate] == keys).all(axis=1)
            rows[found] = candidate[found]
        return rows

    def read(self, column: str, rows: npt.NDArray[np.int64]) -> Array:
        """Return the values of ``column`` in these rows, in their order, as a new array."""
        if not self._shards:
            raise DataError(f"{self.folder} holds no logits yet")
        first = self._shards[0][column]
        out = np.empty((len(rows), *first.shape[1:]), first.dtype)
        shard = np.searchsorted(self._starts, rows, side="right") - 1
        for number in np.unique(shard).tolist():
            here = shard == number
            out[here] = self._shards[number][column][rows[here] - self._starts[number]]
        return out

    def append(self, keys: Keys, columns: Mapping[str, Array]) -> None:
        """Write rows as one shard.

        Args:
            keys: uint8 ``[n, 32]``.
            columns: arrays of n rows, of the same names and types in every shard.

        Raises:
            DataError: the disk is full or refuses to write; earlier shards are intact.
        """
        path = self.folder / f"shard-{time.time_ns():x}-{secrets.token_hex(4)}.safetensors"
        content = {KEYS: np.ascontiguousarray(keys)} | {
            name: np.ascontiguousarray(values) for name, values in columns.items()
        }
        try:
            write_bytes(path, save(content))
        except OSError as error:
            raise DataError(
                f"cannot write logits to {self.folder}: {error.strerror or error}\n"
                "       the earlier rows are intact: make room, then run the same command again"
            ) from None
        self._known.add(path.name)
        self._index([*self._shards, _map(path)])

    def _index(self, shards: Sequence[dict[str, Array]]) -> None:
        self._shards = list(shards)
        self._starts = np.cumsum([0, *(len(shard[KEYS]) for shard in shards)])[:-1].astype(np.int64)
        self._table = _Table.of(np.concatenate([shard[KEYS] for shard in shards]))


class _Table(NamedTuple):
    """Keys in the order of their rows, and the order that sorts their prefixes."""

    keys: Keys
    prefixes: npt.NDArray[np.uint64]
    order: npt.NDArray[np.int64]

    @classmethod
    def of(cls, keys: Keys) -> _Table:
        prefixes = _prefixes(keys)
        order = np.argsort(prefixes, kind="stable")
        return cls(keys, prefixes[order], order)


def content_key(content: bytes) -> bytes:
    """Return the key of a file: the sha256 of its bytes."""
    return hashlib.sha256(content).digest()


def _prefixes(keys: Keys) -> npt.NDArray[np.uint64]:
    """Return the first 8 of the 32 bytes as numbers; two of a billion keys are unlikely to share them."""
    return np.ascontiguousarray(keys[:, :8]).view(np.uint64)[:, 0]


def _map(path: Path) -> dict[str, Array]:
    size = path.stat().st_size
    with path.open("rb") as stream:
        length = int.from_bytes(stream.read(8), "little")
        if not 0 < length <= min(_MAX_HEADER, size - 8):
            raise ValueError("its header is cut short")
        header = json.loads(stream.read(length))
    arrays: dict[str, Array] = {}
    for name, entry in header.items():
        if name == "__metadata__":
            continue
        begin, end = entry["data_offsets"]
        if 8 + length + end > size:
            raise ValueError("its end is missing")
        arrays[name] = np.memmap(
            path,
            dtype=_TYPES[entry["dtype"]],
            mode="r",
            offset=8 + length + begin,
            shape=tuple(entry["shape"]),
        )
    if KEYS not in arrays or len({len(values) for values in arrays.values()}) != 1:
        raise ValueError("its columns do not fit each other")
    return arrays


def _check(folder: Path, about: Mapping[str, Any]) -> None:
    try:
        there = json.loads(read_regular(folder / ABOUT, _MAX_ABOUT))
        same = all(there[name] == about[name] for name in ("schema", "digest", "outputs"))
        other = f"{there['teacher']} (sha256 {there['digest'][:12]}, {there['outputs']} outputs)"
        view = dict(there["view"])
    except OSError as error:
        raise DataError(f"cannot read {folder / ABOUT}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError, RecursionError):
        raise DataError(f"{folder / ABOUT} is damaged; remove {folder}, or choose another --cache") from None
    if not same:
        raise DataError(
            f"{folder} holds the logits of another teacher\n"
            f"       there: {other}\n"
            f"       now:   {about['teacher']} (sha256 {about['digest'][:12]}, {about['outputs']} outputs)\n"
            "       choose another --cache, or leave it out: each teacher then gets its own"
        )
    wanted = json.loads(json.dumps(about["view"]))
    if view != wanted:
        keys = [key for key in {**view, **wanted} if view.get(key) != wanted.get(key)]
        raise DataError(
            f"{folder} holds this teacher's logits for other views of the images: "
            + ", ".join(f"{key} {view.get(key)!r}, not {wanted.get(key)!r}" for key in keys)
            + "\n       choose another --cache, or leave it out"
        )
