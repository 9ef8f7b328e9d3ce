"""Which files of a folder are images, and which names are no data: one rule for every command.

A known extension decides alone, so listing a million files opens none of them. The first bytes of a file with
any other extension, or with none, decide what it is.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Mapping
from pathlib import Path

from ghostclas.image_files import (
    EXTENSIONS,
    FORMATS,
    HEAD_BYTES,
    HEIC,
    HEIC_EXTENSIONS,
    reads_heic,
    signature,
)

UNREAD_PHOTOS = frozenset({HEIC, "JPEG 2000", "JPEG XL", "camera raw"})
"""Formats of photos that this package does not decode; HEIC only where the extra ``heic`` is absent."""

OUTPUT_FOLDER = "runs"
"""Where training runs go by default, in the working directory."""

SORTED_LIST = "sorted.csv"
"""What ``ghostclas predict --sort`` leaves in its folder; :mod:`ghostclas.prediction.sorting` writes it."""
_SORTED_HEADER = b'"from","to","how"'

_NAMED = 6
"""How many kinds of files one line names."""

_UNREAD_EXTENSIONS: Mapping[str, str] = {
    **dict.fromkeys(HEIC_EXTENSIONS, HEIC),
    **dict.fromkeys((".j2k", ".jp2", ".jpf", ".jpx"), "JPEG 2000"),
    ".jxl": "JPEG XL",
    **dict.fromkeys((".arw", ".cr2", ".cr3", ".dng", ".nef", ".orf", ".raf", ".rw2"), "camera raw"),
}
_OTHER_EXTENSIONS = frozenset(
    {
        *(".7z", ".bin", ".cls", ".csv", ".db", ".doc", ".docx", ".gz", ".h5", ".htm", ".html", ".ini"),
        *(".ipynb", ".js", ".json", ".jsonl", ".log", ".mat", ".md", ".mp3", ".mp4", ".npy", ".npz"),
        *(".onnx", ".parquet", ".pdf", ".pdparams", ".pickle", ".pkl", ".pt", ".pth", ".py", ".rar"),
        *(".safetensors", ".sh", ".svg", ".tar", ".tgz", ".toml", ".tsv", ".txt", ".url", ".xls", ".xlsx"),
        *(".xml", ".yaml", ".yml", ".zip"),
    }
)
_HIDDEN = frozenset(
    {
        *("__macosx", "icon\r", "thumbs.db", "ehthumbs.db", "desktop.ini", "@eadir", "#recycle", "#snapshot"),
        *("$recycle.bin", "recycler", "system volume information", "lost+found", "__pycache__"),
    }
)


def is_hidden(name: str) -> bool:
    """Whether a file or folder is no data: dot files, and what operating and storage systems leave behind."""
    return name.startswith(".") or name.lower() in _HIDDEN


def is_image(path: str) -> bool:
    """Whether the name has the extension of an image format that is read here."""
    return _is_read(_extension(path))


def other_kind(path: str, head: Callable[[], bytes]) -> str | None:
    """Return ``None`` for an image that is read here, and what the file is otherwise.

    Args:
        path: the file, with ``/`` or the system's separator between names.
        head: returns the file's first bytes; it is called only if the extension is unknown.

    Returns:
        One of ``UNREAD_PHOTOS``, another format (``"PSD"``), the extension, or ``"no extension"``.
    """
    extension = _extension(path)
    if _is_read(extension):
        return None
    if extension in _UNREAD_EXTENSIONS:
        return _UNREAD_EXTENSIONS[extension]
    if extension in _OTHER_EXTENSIONS:
        return extension
    found = signature(head())
    if found in FORMATS or (found == HEIC and reads_heic()):
        return None
    return found or extension or "no extension"


def read_head(path: Path) -> bytes:
    """Return the first bytes of a regular file; nothing if it is none, or cannot be read."""
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            return b""
        with path.open("rb") as file:
            return file.read(HEAD_BYTES)
    except (OSError, ValueError):
        return b""


def own_output(folder: str, exists: Callable[[str], bool]) -> str | None:
    """Tell a folder that this package wrote, which is never a class, from a folder of photos.

    Args:
        folder: the path of the folder; empty for the root of a tree.
        exists: whether there is a file or folder at a path.

    Returns:
        ``"a training run"``, ``"a bundle"``, ``"predictions"``, ``"a gallery"`` or ``None``.
    """

    def has(name: str) -> bool:
        return exists(f"{folder}/{name}" if folder else name)

    if has("config.yaml") and (has("log.jsonl") or has("checkpoints")):
        return "a training run"
    # Of the last layer alone, which has no recipe.
    if has("log.jsonl") and has("bundle/manifest.json"):
        return "a training run"
    if has("manifest.json") and (has("reference.safetensors") or has("weights.safetensors")):
        return "a bundle"
    if has("predictions.partial.jsonl") or (has("predictions.csv") and has("predictions.jsonl")):
        return "predictions"
    if has("gallery.json") and has("thumbnails"):
        return "a gallery"
    return None


def unsure_folder(folder: str, head: Callable[[str], bytes]) -> str | None:
    """Return the folder of photos without a certain label, which is no class, if photos were sorted here.

    Args:
        folder: the path of a folder that has a file ``sorted.csv``; empty for the root of a tree.
        head: returns the first bytes of a file.
    """
    start = f"{folder}/" if folder else ""
    return f"{start}unsure" if head(f"{start}{SORTED_LIST}").startswith(_SORTED_HEADER) else None


def describe_left_out(kinds: Mapping[str, int]) -> str:
    """Return one line about the files that were left out, given their number by kind."""
    count = sum(kinds.values())
    most = sorted(kinds.items(), key=lambda item: (-item[1], item[0]))
    listed = ", ".join(f"{number:,} {kind}" for kind, number in most[:_NAMED])
    if len(most) > _NAMED:
        listed += f", {sum(number for _, number in most[_NAMED:]):,} of other kinds"
    advice = "; save photos of these kinds as JPEG or PNG" if UNREAD_PHOTOS & kinds.keys() else ""
    files = f"{count:,} files that are no images" if count != 1 else "1 file that is no image"
    return f"left out {files}: {listed}{advice}"


def _is_read(extension: str) -> bool:
    return extension in EXTENSIONS or (extension in HEIC_EXTENSIONS and reads_heic())


def _extension(path: str) -> str:
    return os.path.splitext(path)[1].lower()  # noqa: PTH122  # a tenth of the time of pathlib
