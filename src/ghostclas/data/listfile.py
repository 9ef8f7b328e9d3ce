"""PaddleClas list files: one ``path label`` line an image, paths relative to a root."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from ghostclas.data.folder import FolderTree
from ghostclas.data.labels import find_label_file, read_label_file, read_lines, resolve_labels
from ghostclas.data.source import Samples
from ghostclas.errors import DataError

LIST_NAMES = {"train": "train_list.txt", "val": "val_list.txt", "test": "test_list.txt"}


@dataclass(frozen=True)
class ListSource:
    """A :class:`~ghostclas.data.source.Source` over a list file.

    Attributes:
        file: the list.
        tree: the files under the root.
        classes: class names by index.
        samples: keys are the paths as the list has them, in its order.
    """

    file: Path
    tree: FolderTree
    classes: tuple[str, ...]
    samples: Samples

    @property
    def location(self) -> str:
        """Where the images are, for messages."""
        return str(self.file)

    def read(self, index: int) -> bytes:
        """Return the encoded bytes of image ``index``.

        Raises:
            ImageError: the file is gone or cannot be read.
        """
        return self.tree.read(self.samples.key(range(len(self.samples))[index]))


def open_list(file: Path, root: Path | None = None, label_file: Path | None = None) -> ListSource:
    """Open a list file.

    A line is a path, blanks or one tab, and a label: a class index, or a name (with blanks only after a tab).
    Paths may contain blanks. Multi-label lines (``0,1,0``) are refused.

    Args:
        file: UTF-8 text; empty lines do not count.
        root: what the paths are relative to, by default the folder of ``file``.
        label_file: class names by index, see :func:`~ghostclas.data.labels.read_label_file`; by default the
            ``classes.txt`` or ``*label*.txt`` beside ``file``, and without one indices are names.

    Raises:
        DataError: a line that is no path and label, an unknown label, an empty list, or a first image that
            does not exist; the others are looked up when they are read.
    """
    root = root or file.parent
    paths: list[str] = []
    labels: list[str] = []
    for number, line in enumerate(read_lines(file), start=1):
        if not line.strip():
            continue
        parts = line.strip().split("\t") if "\t" in line else line.rsplit(maxsplit=1)
        if len(parts) != 2 or not all(part.strip() for part in parts):
            raise DataError(f"{file}, line {number}: expected a path and a label but found {line.strip()!r}")
        path, label = (part.strip() for part in parts)
        if "," in label and label.replace(",", "").isdigit():
            raise DataError(
                f"{file}, line {number}: {label!r} is a multi-label; one class an image is expected"
            )
        paths.append(path)
        labels.append(label)
    if not paths:
        raise DataError(f"{file} lists no image; expected 'path label' lines")
    if not (root / paths[0]).is_file():
        raise DataError(
            f"{file}, line 1: there is no file {root / paths[0]}; "
            "say what the paths are relative to: --set data.root=FOLDER when training, else --root FOLDER"
        )
    label_file = label_file or find_label_file(file.parent)
    names = read_label_file(label_file) if label_file else None
    classes, indices = resolve_labels(labels, names, str(file))
    return ListSource(file, FolderTree(root), classes, Samples(zip(paths, indices.tolist(), strict=True)))
