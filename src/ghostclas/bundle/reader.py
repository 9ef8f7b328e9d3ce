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

from ghostclas.bundle.manifest import MANIFEST, REFERENCE, RESTORE, FileEntry, Manifest, parse_manifest
from ghostclas.bundle.reference import Reference
from ghostclas.bundle.store import Folder, Store, io_errors, open_store
from ghostclas.errors import BundleError
from ghostclas.files import write_bytes
from ghostclas.spec import ModelSpec, PostprocessSpec, PreprocessSpec

_MAX_MANIFEST = 64 * 2**20


@dataclass(frozen=True)
class BundleFile:
    """One file that an engine can open. Its content is verified whenever it is handed out."""

    bundle: Bundle
    entry: FileEntry

    @property
    def path(self) -> Path:
        """Where the file is, its companions beside it, all verified; for an archive, unpacked copies.

        Raises:
            BundleError: one of them is not what the manifest describes.
        """
        for companion in self.bundle.manifest.files:
            alike = (companion.format, companion.precision) == (self.entry.format, self.entry.precision)
            if alike and companion.input is None:
                self.bundle.path_of(companion)
        return self.bundle.path_of(self.entry)

    def read(self) -> bytes:
        """Return the file's bytes, verified.

        Raises:
            BundleError: they are not what the manifest describes.
        """
        return self.bundle.read(self.entry.path)


class Bundle:
    """An open bundle. It holds no file open; opening costs the manifest and a look at each file's size."""

    def __init__(self, path: Path, store: Store, manifest: Manifest) -> None:
        self.path = path
        self.manifest = manifest
        self._store = store

    @classmethod
    def open(cls, path: str | os.PathLike[str]) -> Bundle:
        """Open the bundle in the folder or ``.zip`` at ``path``.

        Raises:
            BundleError: there is none, or it does not verify; one sentence says why.
        """
        path = Path(path)
        store = open_store(path)
        manifest = _read_manifest(path, store)
        for entry in manifest.files:
            size = store.size(entry.path)
            if size != entry.bytes:
                raise BundleError(
                    f"{path}: {entry.path} has {size:,} bytes, its manifest says {entry.bytes:,}; {RESTORE}"
                )
        return cls(path, store, manifest)

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
        raise BundleError(
            f"{self.path}: there is no {wanted} file in this bundle (there is: {present}); "
            f"add it with: ghostclas export --model {self.path} --format {format or 'onnx'}"
            + (f" --precision {precision}" if precision else "")
        )

    def read(self, name: str) -> bytes:
        """Return the verified content of the listed file ``name``.

        Raises:
            BundleError: there is no such file, or its content is not what the manifest describes.
        """
        entry = self._entry(name)
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
        """Return where the verified content of ``entry`` is on the disk; for an archive, an unpacked copy.

        Raises:
            BundleError: it is not what the manifest describes.
        """
        if isinstance(self._store, Folder):
            self._hash(entry)
            return self._store.path(entry.path)
        target = self._unpacked / entry.path
        if not target.exists():
            content = self.read(entry.path)
            target.parent.mkdir(parents=True, exist_ok=True)
            # Another thread may do the same; each puts the same complete file there.
            write_bytes(target, content, durable=False)
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
            raise BundleError(
                f"{self.path}: {entry.path} is not the file that was exported (its sha256 begins with "
                f"{digest.hexdigest()[:12]}, the manifest says {entry.sha256[:12]}); {RESTORE}"
            )


def _read_manifest(path: Path, store: Store) -> Manifest:
    size = store.size(MANIFEST)
    if size > _MAX_MANIFEST:
        raise BundleError(f"{path}: {MANIFEST} has {size:,} bytes; no manifest is that long")
    with store.open(MANIFEST) as stream, io_errors(path, MANIFEST):
        content = stream.read(_MAX_MANIFEST)
    return parse_manifest(content, path)


def default_bundle_path() -> Path:
    """Return where the built-in model is."""
    return Path(__file__).parents[1] / "assets" / "ghostnet_x1_0_tiny200"
