"""The mapping from a teacher's outputs to the classes of the data."""

from __future__ import annotations

import csv
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import numpy.typing as npt

from ghostclas.data.classes import MAX_CLASSES_BYTES, first_few
from ghostclas.data.source import Source
from ghostclas.data.subsets import Subset
from ghostclas.data.tree import TreeSource
from ghostclas.errors import DataError
from ghostclas.files import read_regular

Float32 = npt.NDArray[np.float32]

_SHOWN = 200
_DIGITS = 10


@dataclass(frozen=True)
class ClassMap:
    """The teacher's outputs of each class: one or several. No output belongs to two classes."""

    columns: tuple[tuple[int, ...], ...]
    outputs: int

    @property
    def is_identity(self) -> bool:
        """Whether every output is the class of the same index."""
        return self.columns == tuple((index,) for index in range(self.outputs))

    @cached_property
    def first(self) -> npt.NDArray[np.int64]:
        """The first output of each class, int64 ``[C]``."""
        return np.array([columns[0] for columns in self.columns], np.int64)

    @cached_property
    def merged(self) -> Mapping[int, tuple[int, ...]]:
        """The classes with several outputs."""
        return {index: columns for index, columns in enumerate(self.columns) if len(columns) > 1}

    def logits(self, outputs: npt.NDArray[np.floating]) -> Float32:
        """Turn the teacher's logits ``[N, outputs]`` into logits of the classes, float32 ``[N, C]``.

        Their softmax is the teacher's, given that the image shows one of these classes. The logit of a class
        with several outputs is the logarithm of the sum of their exponentials.
        """
        values = np.asarray(outputs, np.float32)
        ours = values[:, self.first]
        for index, columns in self.merged.items():
            group = values[:, list(columns)]
            top = group.max(axis=1)
            ours[:, index] = top + np.log(np.exp(group - top[:, None]).sum(axis=1))
        return ours

    def probabilities(self, outputs: npt.NDArray[np.floating]) -> Float32:
        """Return the probability of each class among all of the teacher's outputs, float32 ``[N, C]``."""
        values = np.asarray(outputs, np.float32)
        top = values.max(axis=1, keepdims=True)
        total = np.log(np.exp(values - top).sum(axis=1, keepdims=True)) + top
        return np.asarray(np.exp(self.logits(values) - total), np.float32)


def map_classes(
    labels: Sequence[Sequence[str]] | None, outputs: int, source: Source, teacher: str, mapping: Path | None
) -> ClassMap:
    """Find the teacher's outputs of the classes of labelled images.

    Args:
        labels: the names of each output; ``None`` where they are not known.
        outputs: the number of outputs.
        source: the labelled images. Names of classes and of their folders, such as ``n01443537``, are
            matched.
        teacher: the teacher's name, for messages.
        mapping: a CSV file of ``output,class`` rows that replaces the matching. A row holds an output's index
            or name, and a class or its folder; the first row may be a header.

    Raises:
        DataError: a class has no output, or the mapping does not fit; the message names them.
    """
    folders = class_folders(source)
    classes = tuple(source.classes)
    found: list[list[int]] = [[] for _ in classes]
    named = _by_name(labels)
    if mapping is not None:
        for output, index in _read(mapping, named, outputs, classes, folders):
            found[index].append(output)
        advice = f"add a row for each to {mapping}"
    else:
        for index, (name, folder) in enumerate(zip(classes, folders, strict=True)):
            matches = named.get(folder) or named.get(name) or []
            found[index] = matches if len(matches) == 1 else []
        advice = "map outputs to classes with --mapping FILE, a CSV of output,class rows"
    missing = [name for name, columns in zip(classes, found, strict=True) if not columns]
    if missing:
        raise DataError(
            f"the teacher {teacher} ({outputs} outputs{'' if labels else ' without names'}) does not know "
            f"{len(missing)} of the {len(classes)} classes of {source.location}: "
            f"{first_few(map(repr, missing))}\n"
            f"       {advice}"
        )
    return ClassMap(tuple(tuple(columns) for columns in found), outputs)


def class_folders(source: Source) -> tuple[str, ...]:
    """Return the folder of each class, or its name where a source has no folders."""
    while isinstance(source, Subset):
        source = source.source
    return source.folders if isinstance(source, TreeSource) else tuple(source.classes)


def _by_name(labels: Sequence[Sequence[str]] | None) -> dict[str, list[int]]:
    named: dict[str, list[int]] = {}
    for index, names in enumerate(labels or ()):
        for name in dict.fromkeys(names):
            named.setdefault(name, []).append(index)
    return named


def _read(
    file: Path,
    named: Mapping[str, Sequence[int]],
    outputs: int,
    classes: Sequence[str],
    folders: Sequence[str],
) -> list[tuple[int, int]]:
    try:
        content = read_regular(file, MAX_CLASSES_BYTES).decode("utf-8-sig")
        rows = list(csv.reader(content.splitlines(), strict=True))
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise DataError(f"{file}: cannot be read as a CSV of output,class rows: {reason}") from None
    ours = {name: index for index, name in enumerate(classes)} | {f: i for i, f in enumerate(folders)}
    pairs: list[tuple[int, int]] = []
    taken: dict[int, int] = {}
    for number, row in enumerate(rows, start=1):
        if not any(cell.strip() for cell in row):
            continue
        cells = [cell.strip() for cell in row]
        output = _output(cells[0], named, outputs)
        if number == 1 and output is None and cells[-1] not in ours:
            continue
        if len(cells) != 2 or output is None or cells[1] not in ours:
            raise DataError(
                f"{file}, line {number}: expected a teacher's output (its index, 0 to {outputs - 1}, or "
                f"its name) and one of our classes, but found {','.join(row)[:_SHOWN]!r}"
            )
        if taken.setdefault(output, ours[cells[1]]) != ours[cells[1]]:
            raise DataError(f"{file}, line {number}: output {cells[0][:_SHOWN]!r} is given to two classes")
        pairs.append((output, ours[cells[1]]))
    return list(dict.fromkeys(pairs))


def _output(text: str, named: Mapping[str, Sequence[int]], outputs: int) -> int | None:
    if len(named.get(text, ())) == 1:
        return named[text][0]
    if text.isascii() and text.isdigit() and len(text) < _DIGITS and int(text) < outputs:
        return int(text)
    return None
