"""Opening a bundle and handing out its files, verified."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import weakref
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from ghostclas.bundle.manifest import (
    MANIFEST,
    MAX_MANIFEST,
    REFERENCE,
    RESTORE,
    FileEntry,
    Manifest,
    parse_manifest,
    reason,
)
from ghostclas.bundle.reference import Reference
from ghostclas.bundle.store import Folder, Store, io_errors, open_store
from ghostclas.errors import BundleError, command_line
from ghostclas.files import write_bytes
from ghostclas.spec import ModelSpec, PostprocessSpec, PreprocessSpec

_MAX_READ = 2**31
"""Bytes of a file that is read into memory; an ONNX file cannot have more."""


@dataclass(frozen=True)
class BundleFile:
    """One file that an engine can open. Its content is verified whenever it is handed out."""

    bundle: Bundle
    entry: FileEntry

    @property
    def path(self) -> Path:
        """Where a private copy of the file is, its companions beside it: verified bytes, and nobody else's.

        The copies last as long as the open bundle.

        Raises:
            BundleError: one of them is not what the manifest describes.
        """
        for companion in self.companions:
            self.bundle.copy_of(companion)
        return self.bundle.copy_of(self.entry)

    @property
    def companions(self) -> tuple[FileEntry, ...]:
        """The files that belong to it: those of its format and precision that have no input of their own."""
        own = (self.entry.format, self.entry.precision)
        return tuple(
            entry
            for entry in self.bundle.manifest.files
            if (entry.format, entry.precision) == own and entry.input is None
        )

    def read(self) -> bytes:
        """Return the file's bytes, verified.

        Raises:
            BundleError: they are not what the manifest describes.
        """
        return self.bundle.read(self.entry.path)


class Bundle:
    """An open bundle. It holds no file open; opening costs the manifest and a look at each file's size."""

    def __init__(self, path: Path, store: Store, manifest: Manifest, digest: bytes | None = None) -> None:
        self.path = path
        self.manifest = manifest
        self._store = store
        self._digest = digest

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Bundle:
        """Open the bundle in the folder or ``.zip`` at ``path``.

        Raises:
            BundleError: there is none, or it does not verify; one sentence says why.
        """
        path = Path(path)
        seen = _identity(path)
        try:
            return cls._open(path)
        except BundleError:
            if _identity(path) == seen:
                raise
            # A writer has put another bundle there meanwhile: the second look finds all of it.
            return cls._open(path)

    @classmethod
    def _open(cls, path: Path) -> Bundle:
        store = open_store(path)
        content = _read_manifest(path, store)
        manifest = parse_manifest(content, path)
        for entry in manifest.files:
            size = store.size(entry.path)
            if size != entry.bytes:
                raise BundleError(
                    f"{path}: {entry.path} has {size:,} bytes, its manifest says {entry.bytes:,}; {RESTORE}"
                )
        return cls(path, store, manifest, hashlib.sha256(content).digest())

    def __repr__(self) -> str:
        return f"<Bundle {self.name} at {self.path}>"

    @property
    def name(self) -> str:
        """The name of the model."""
        return self.manifest.name

    @property
    def classes(self) -> tuple[str, ...]:
        """Class names in the order of the logits."""
        return self.manifest.classes

    @property
    def spec(self) -> ModelSpec:
        """What rebuilds the network."""
        return self.manifest.spec

    @property
    def preprocess(self) -> PreprocessSpec:
        """From a photo to the network's input."""
        return self.manifest.preprocess

    @property
    def postprocess(self) -> PostprocessSpec:
        """From logits to scores."""
        return self.manifest.postprocess

    def file(self, format: str | None = None, precision: str | None = None) -> BundleFile:  # noqa: A002
        """Return the first file that an engine can open, of this format and precision where they are given.

        Raises:
            BundleError: there is none; the message lists those there are.
        """
        runnable = [entry for entry in self.manifest.files if entry.input is not None]
        for entry in runnable:
            if format in (None, entry.format) and precision in (None, entry.precision):
                return BundleFile(self, entry)
        wanted = " ".join(word for word in (format, precision) if word) or "model"
        present = ", ".join(f"{entry.format} {entry.precision}" for entry in runnable) or "none"
        built_in = self.path == default_bundle_path()
        adding = command_line(
            "ghostclas",
            "export",
            *("--model", "default" if built_in else str(self.path)),
            *("--format", format or "onnx"),
            *(("--precision", precision) if precision else ()),
            *(("--calibration", "PHOTOS") if precision == "int8" else ()),
            # The built-in model is not changed.
            *(("--output", "BUNDLE") if built_in else ()),
        )
        raise BundleError(
            f"{self.path}: there is no {wanted} file in this bundle (there is: {present})\n"
            f"       add it with: {adding}"
        )

    def read(self, name: str) -> bytes:
        """Return the verified content of the listed file ``name``.

        Raises:
            BundleError: there is no such file, or its content is not what the manifest describes.
        """
        entry = self._entry(name)
        if entry.bytes > _MAX_READ:
            raise BundleError(
                f"{self.path}: {name} has {entry.bytes:,} bytes; at most {_MAX_READ:,} are read at once"
            )
        with self._store.open(name) as stream, io_errors(self.path, name):
            content = stream.read(entry.bytes + 1)
        self._compare(entry, len(content), hashlib.sha256(content))
        return content

    def reference(self) -> Reference:
        """Return the images and logits that the bundle is checked against.

        Raises:
            BundleError: it has none, or they do not verify or do not fit the manifest.
        """
        try:
            reference = Reference.from_bytes(self.read(REFERENCE))
        except ValueError as error:
            raise BundleError(f"{self.path}: {REFERENCE}: {error}; {RESTORE}") from None
        crop = self.preprocess.crop
        for tensor, shape in ((reference.pixels, (crop, crop, 3)), (reference.logits, (len(self.classes),))):
            if tensor.shape[1:] != shape:
                raise BundleError(
                    f"{self.path}: {REFERENCE} holds {list(tensor.shape)} where the manifest asks for "
                    f"{[len(tensor), *shape]}; {RESTORE}"
                )
        return reference

    def check(self) -> None:
        """Verify the content of every file.

        Raises:
            BundleError: naming the first that is not what the manifest describes.
        """
        for entry in self.manifest.files:
            self._hash(entry)

    def _entry(self, name: str) -> FileEntry:
        for entry in self.manifest.files:
            if entry.path == name:
                return entry
        raise BundleError(f"{self.path}: there is no {name} in this bundle; {RESTORE}")

    def path_of(self, entry: FileEntry) -> Path:
        """Return where ``entry`` is on the disk, just verified; for an archive, an unpacked copy.

        Of a folder, others may change it from then on: what is loaded comes from ``read`` or ``copy_of``.

        Raises:
            BundleError: it is not what the manifest describes.
        """
        if isinstance(self._store, Folder):
            self._hash(entry)
            return self._store.path(entry.path)
        return self.copy_of(entry)

    def copy_of(self, entry: FileEntry) -> Path:
        """Return where a verified copy of ``entry`` is that no other user can change.

        Raises:
            BundleError: it is not what the manifest describes.
        """
        target = self._unpacked / entry.path
        if not target.exists():
            content = self.read(entry.path)
            try:
                target.parent.mkdir(parents=True, exist_ok=True)
                # Another thread may do the same; each puts the same complete file there.
                write_bytes(target, content, durable=False)
            except OSError as error:
                raise BundleError(
                    f"{self.path}: {entry.path} cannot be copied to {self._unpacked} ({reason(error)}); "
                    "make room there, or set TMPDIR to another folder"
                ) from None
        return target

    @cached_property
    def _unpacked(self) -> Path:
        folder = tempfile.mkdtemp(prefix="ghostclas-")
        weakref.finalize(self, shutil.rmtree, folder, ignore_errors=True)
        return Path(folder)

    def _hash(self, entry: FileEntry) -> None:
        digest, size = hashlib.sha256(), 0
        with self._store.open(entry.path) as stream, io_errors(self.path, entry.path):
            while chunk := stream.read(1 << 20):
                digest.update(chunk)
                size += len(chunk)
        self._compare(entry, size, digest)

    def _compare(self, entry: FileEntry, size: int, digest: Any) -> None:
        if size != entry.bytes or digest.hexdigest() != entry.sha256:
            if self._was_replaced():
                raise BundleError(
                    f"{self.path}: the bundle was replaced while {entry.path} was read; open it again"
                )
            raise BundleError(
                f"{self.path}: {entry.path} is not the file that was exported (its sha256 begins with "
                f"{digest.hexdigest()[:12]}, the manifest says {entry.sha256[:12]}); {RESTORE}"
            )

    def _was_replaced(self) -> bool:
        """Return whether another bundle is there now than the one that was opened."""
        try:
            now = hashlib.sha256(_read_manifest(self.path, open_store(self.path))).digest()
        except BundleError:
            return False
        return self._digest is not None and now != self._digest


def _identity(path: Path) -> tuple[int, int, int] | None:
    """Return what differs between a bundle and the one that replaced it; ``None`` where there is none."""
    for part in (path / MANIFEST, path):
        try:
            status = part.stat()
        except (OSError, ValueError):
            continue
        return status.st_ino, status.st_mtime_ns, status.st_size
    return None


def _read_manifest(path: Path, store: Store) -> bytes:
    size = store.size(MANIFEST)
    if size > MAX_MANIFEST:
        raise BundleError(f"{path}: {MANIFEST} has {size:,} bytes; no manifest is that long")
    with store.open(MANIFEST) as stream, io_errors(path, MANIFEST):
        return stream.read(MAX_MANIFEST + 1)


def default_bundle_path() -> Path:
    """Return where the built-in model is."""
    return Path(__file__).parents[1] / "assets" / "ghostnet_x1_0_tiny200"
