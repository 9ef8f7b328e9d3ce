"""WebDataset shards: ``.tar`` files of ``key.jpg`` and ``key.cls`` pairs, with exact random access.

Streaming readers shuffle within a window and cannot always resume exactly. This source reads the headers of
each shard once (a seek for each member, no image) and stores the place of every image in
``.<shard>.index.json`` beside the shard, or in memory where it cannot write. After that, an image takes one
``open`` and one read, a shuffle covers all images, and a run resumes at the exact sample. A shard of another
size, modification time or content at a few places is indexed again; an image is read only where the shard
has the header of a file of that size.
"""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import re
import tarfile
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import product
from math import prod
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import numpy as np
import numpy.typing as npt

from ghostclas.data.archives import open_tar, regular_members
from ghostclas.data.filenames import describe_left_out, is_hidden, other_kind
from ghostclas.data.labels import read_label_file, resolve_labels, write_label_file
from ghostclas.data.source import Samples, Source
from ghostclas.errors import DataError, ImageError
from ghostclas.files import check_regular, read_regular, replacing, write_bytes
from ghostclas.image_files import HEAD_BYTES

INDEX_VERSION = 3
SHARD_IMAGES = 2000
MAX_LABEL_BYTES = 4096
MAX_SHARDS = 100_000
_BLOCK = 512
_REGULAR = (tarfile.REGTYPE, tarfile.AREGTYPE, tarfile.CONTTYPE)
_SAMPLES, _SAMPLE_BYTES = 8, 4096
# An entry is a name that the shard holds, too, with its escapes, and numbers.
_INDEX_BYTES = 1 << 20
_RANGE = re.compile(r"(\d{1,9})\.\.(\d{1,9})", re.ASCII)


class Entry(NamedTuple):
    """One labelled image of a shard: its member's name, place in bytes, and label as written."""

    name: str
    offset: int
    size: int
    label: str


class ShardIndex(NamedTuple):
    """The images of a shard, and the number of images in unread formats, by format."""

    entries: list[Entry]
    ignored: dict[str, int]


@dataclass(frozen=True, eq=False)
class ShardSource:
    """A :class:`~ghostclas.data.source.Source` over indexed ``.tar`` shards.

    Attributes:
        location: where the shards are, for messages.
        shards: the files.
        classes: class names by index.
        samples: keys are the names of the image members, in the order of the shards; where names repeat
            between shards, each begins with its shard's name.
        first: index of the first sample of each shard and, last, of the end, int64 ``[shards + 1]``.
        places: offset and size in bytes of each image in its shard, int64 ``[N, 2]``.
        notes: sentences for the user, such as what was left out.
    """

    location: str
    shards: tuple[Path, ...]
    classes: tuple[str, ...]
    samples: Samples
    first: npt.NDArray[np.int64]
    places: npt.NDArray[np.int64]
    notes: tuple[str, ...] = ()

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of image ``index``.

        Raises:
            ImageError: the shard is gone, cannot be read, or has become shorter.
        """
        index = range(len(self.samples))[index]
        shard = self.shards[int(np.searchsorted(self.first, index, side="right")) - 1]
        offset, size = map(int, self.places[index])
        try:
            with shard.open("rb", buffering=0) as file:
                file.seek(offset - _BLOCK)
                header, data = file.read(_BLOCK), file.read(size)
        except FileNotFoundError:
            raise ImageError("not_found", f"no such file: {shard}") from None
        except OSError as error:
            raise ImageError("unreadable", f"cannot read {shard}: {error.strerror}") from None
        if len(data) != size:
            raise ImageError("truncated", f"{shard} ends within {self.samples.key(index)}")
        if _size_in_header(header) != size:
            raise ImageError(
                "unreadable", f"{shard} does not hold {self.samples.key(index)} where its index says"
            )
        return data


def open_shards(shards: Sequence[Path], location: str, label_file: Path | None = None) -> ShardSource:
    """Open shards as one source, building the indices that are missing or out of date.

    Args:
        shards: the ``.tar`` files in order.
        location: how messages call them.
        label_file: class names by index, see :func:`~ghostclas.data.labels.read_label_file`; without one,
            numeric labels are their own names.

    Raises:
        DataError: a shard is missing, compressed, damaged, or an image in it has no label.
    """
    indices = [_index(shard) for shard in shards]
    found = [index.entries for index in indices]
    entries = [entry for shard in found for entry in shard]
    ignored: Counter[str] = Counter()
    for index in indices:
        ignored.update(index.ignored)
    notes = (f"{location}: {describe_left_out(ignored)}",) if ignored else ()
    if not entries:
        raise DataError(
            f"{location} holds no image; expected pairs such as 0001.jpg and 0001.cls in each .tar"
            + "".join(f"; {note}" for note in notes)
        )
    names = [entry.name for entry in entries]
    if len(set(names)) != len(names):
        names = [
            f"{shard.stem}/{entry.name}"
            for shard, inside in zip(shards, found, strict=True)
            for entry in inside
        ]
    classes, labels = resolve_labels(
        [entry.label for entry in entries], read_label_file(label_file) if label_file else None, location
    )
    return ShardSource(
        location,
        tuple(shards),
        classes,
        Samples(zip(names, labels.tolist(), strict=True)),
        np.cumsum([0, *map(len, found)], dtype=np.int64),
        np.array([(entry.offset, entry.size) for entry in entries], dtype=np.int64),
        notes,
    )


def shard_index(shard: Path) -> list[Entry]:
    """Return the images of one shard, from its index file if that is up to date.

    Raises:
        DataError: the shard is missing, compressed, damaged, or an image in it has no label.
    """
    return _index(shard).entries


def _index(shard: Path) -> ShardIndex:
    try:
        check_regular(shard)
        status = shard.stat()
        content = _sampled(shard, status.st_size)
    except OSError as error:
        raise DataError(f"cannot read the shard {shard}: {error.strerror}") from None
    stamp = {
        "version": INDEX_VERSION,
        "bytes": status.st_size,
        "mtime_ns": status.st_mtime_ns,
        "content": content,
    }
    cache = shard.with_name(f".{shard.name}.index.json")
    index = _load(cache, stamp)
    if index is None:
        index = _scan(shard)
        _save(cache, {**stamp, "samples": index.entries, "ignored": index.ignored})
    return index


def _sampled(shard: Path, size: int) -> str:
    """Return the sha256 of a few parts of the shard, from its beginning to its end."""
    digest = hashlib.sha256()
    last = max(0, size - _SAMPLE_BYTES)
    with shard.open("rb", buffering=0) as file:
        for start in sorted({last * number // (_SAMPLES - 1) for number in range(_SAMPLES)}):
            file.seek(start)
            digest.update(file.read(_SAMPLE_BYTES))
    return digest.hexdigest()


def _size_in_header(block: bytes) -> int | None:
    """Return the size in the header of a regular file, or ``None`` if this is none."""
    try:
        return int(block[124:136].rstrip(b" \0"), 8) if block[156:157] in _REGULAR else None
    except ValueError:
        return None


def write_shard(target: Path, samples: Iterable[tuple[str, bytes, str]]) -> int:
    """Write ``(name, image, label)`` triples as one shard and return how many there were.

    ``cat/1.jpg`` becomes the members ``cat/1.jpg`` and ``cat/1.cls``. The format ends a key at the first dot
    of the file name, so other dots become ``_``. The shard is written whole or not at all, and the same
    samples always give the same bytes.

    Raises:
        DataError: two samples have the same name without extension.
    """
    keys: set[str] = set()
    with replacing(target) as part, tarfile.open(part, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, image, label in samples:
            path = PurePosixPath(name)
            key = str(path.with_name(path.stem.replace(".", "_")))
            if key in keys:
                raise DataError(f"{target}: two images with the key {key!r}; rename one of them")
            keys.add(key)
            for member, content in ((key + path.suffix, image), (f"{key}.cls", label.encode())):
                info = tarfile.TarInfo(member)
                info.size = len(content)
                tar.addfile(info, io.BytesIO(content))
    return len(keys)


def write_shards(
    source: Source, folder: Path, split: str = "train", *, size: int = SHARD_IMAGES
) -> list[Path]:
    """Write a source as ``<split>-000000.tar`` and so on, with ``classes.txt`` beside them.

    Existing shards are kept, so that an interrupted call continues where it stopped.

    Args:
        source: labelled images.
        folder: made if absent.
        split: ``train``, ``val`` or ``test``.
        size: images in a shard.

    Returns:
        The shards in order.
    """
    folder.mkdir(parents=True, exist_ok=True)
    shards = []
    for number, start in enumerate(range(0, len(source.samples), size)):
        shards.append(folder / f"{split}-{number:06d}.tar")
        if not shards[-1].exists():
            chosen = range(start, min(start + size, len(source.samples)))
            write_shard(
                shards[-1],
                ((source.samples[i].key, source.read(i), str(source.samples[i].label)) for i in chosen),
            )
    write_label_file(folder / "classes.txt", source.classes)
    return shards


def expand_braces(pattern: str) -> list[str]:
    """Expand ``{000..123}`` and ``{a,b}`` as a shell does: ``x{08..10}`` is x08, x09, x10."""
    parts = re.split(r"\{([^{}]*)\}", pattern)
    choices: list[list[str]] = []
    for position, part in enumerate(parts):
        bounds = _RANGE.fullmatch(part)
        if position % 2 == 0:
            choices.append([part])
        elif bounds:
            first, last = int(bounds[1]), int(bounds[2])
            if abs(last - first) >= MAX_SHARDS:
                raise DataError(f"{pattern} means more than {MAX_SHARDS:,} shards")
            width = max(map(len, bounds.groups())) if "0" in (bounds[1][0], bounds[2][0]) else 0
            step = 1 if last >= first else -1
            choices.append([f"{number:0{width}d}" for number in range(first, last + step, step)])
        elif "," in part:
            choices.append(part.split(","))
        else:
            choices.append([f"{{{part}}}"])
    if prod(map(len, choices)) > MAX_SHARDS:
        raise DataError(f"{pattern} means more than {MAX_SHARDS:,} shards")
    return ["".join(choice) for choice in product(*choices)]


def _scan(shard: Path) -> ShardIndex:
    ignored: Counter[str] = Counter()
    images: dict[str, tuple[str, int, int]] = {}
    labels: dict[str, str] = {}
    with open_tar(shard, compressed=False) as tar:
        for name, member in regular_members(tar, str(shard)):
            if any(map(is_hidden, name.parts)):
                continue
            stem, _, extension = name.name.partition(".")
            key = str(name.with_name(stem))
            if extension.lower() == "cls":
                labels[key] = _label(tar, member, shard)
                continue
            kind = other_kind(name.name, partial(_head, tar, member))
            if kind is None:
                if key in images:
                    raise DataError(f"{shard} holds two images with the key {key!r}")
                images[key] = (str(name), member.offset_data, member.size)
            elif kind != "no extension" and not kind.startswith("."):
                # Other members belong to a sample: its caption, its metadata.
                ignored[kind] += 1
    entries = []
    for key, (image, offset, size) in images.items():
        if not labels.get(key):
            raise DataError(f"{shard}: the image {image} has no label; expected {key}.cls beside it")
        entries.append(Entry(image, offset, size, labels[key]))
    return ShardIndex(entries, dict(ignored))


def _head(tar: tarfile.TarFile, member: tarfile.TarInfo) -> bytes:
    content = tar.extractfile(member)
    return content.read(HEAD_BYTES) if content else b""


def _label(tar: tarfile.TarFile, member: tarfile.TarInfo, shard: Path) -> str:
    content = tar.extractfile(member) if member.size <= MAX_LABEL_BYTES else None
    try:
        return content.read().decode().strip() if content else ""
    except UnicodeDecodeError:
        raise DataError(f"{shard}: {member.name} is no number and no name in UTF-8") from None


def _load(cache: Path, stamp: dict[str, Any]) -> ShardIndex | None:
    try:
        content = json.loads(read_regular(cache, _INDEX_BYTES + 8 * stamp["bytes"]))
        if {key: content[key] for key in stamp} != stamp:
            return None
        entries = [Entry(str(n), int(o), int(s), str(label)) for n, o, s, label in content["samples"]]
        ignored = {str(kind): int(count) for kind, count in content["ignored"].items()}
    except (OSError, ArithmeticError, AttributeError, LookupError, RecursionError, TypeError, ValueError):
        return None
    inside = all(
        entry.offset >= _BLOCK and 0 <= entry.size <= stamp["bytes"] - entry.offset for entry in entries
    )
    return ShardIndex(entries, ignored) if inside else None


def _save(cache: Path, content: dict[str, object]) -> None:
    # If the folder cannot be written, the index stays in memory.
    with contextlib.suppress(OSError):
        write_bytes(cache, json.dumps(content).encode(), durable=False)
