"""Writing a bundle, adding to it and packing it, all of it atomic."""

from __future__ import annotations

import hashlib
import os
import shutil
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import JsonValue

from ghostclas.bundle.manifest import (
    MANIFEST,
    FileEntry,
    FileParity,
    Manifest,
    Precision,
    TensorSpec,
    make,
    parse_manifest,
    serialise,
)
from ghostclas.bundle.reader import Bundle
from ghostclas.errors import BundleError
from ghostclas.files import (
    LockedError,
    aside_of,
    check_replaceable,
    lock,
    replacing,
    replacing_folder,
    write_bytes,
)
from ghostclas.spec import Metric, ModelSpec, PostprocessSpec, PreprocessSpec, label_hash

_WAIT_SECONDS = 600.0


@dataclass(frozen=True)
class FileContent:
    """A file to write into a bundle: its bytes, or a file to copy, and what the manifest says of it."""

    data: bytes | Path
    format: str
    precision: Precision = "fp32"
    input: TensorSpec | None = None
    output: TensorSpec | None = None
    features: TensorSpec | None = None


def write_bundle(
    target: str | os.PathLike[str],
    *,
    name: str,
    spec: ModelSpec,
    classes: Sequence[str],
    preprocess: PreprocessSpec,
    postprocess: PostprocessSpec | None = None,
    files: Mapping[str, FileContent],
    metrics: Sequence[Metric] = (),
    provenance: Mapping[str, JsonValue] | None = None,
    parity: Sequence[FileParity] = (),
) -> Bundle:
    """Write a bundle into the folder ``target``, in place of one that is there; atomic.

    Args:
        target: the folder; its parents are made. ``pack`` makes a ``.zip`` of it.
        name: of the model.
        spec: what rebuilds the network.
        classes: names in the order of the logits.
        preprocess: from a photo to the network's input.
        postprocess: from logits to scores.
        files: contents by path inside the bundle; the first that can be run is the default.
        metrics: accuracies that were measured.
        provenance: where the model comes from, as plain JSON.
        parity: how close the files came to the reference.

    Raises:
        BundleError: the parts do not fit each other, ``target`` is something else than a bundle, or the disk
            refuses, which changes nothing.
    """

    def fill(folder: Path) -> Manifest:
        return make(
            Manifest,
            name=name,
            spec=spec,
            classes=tuple(classes),
            label_hash=label_hash(classes),
            preprocess=preprocess,
            postprocess=postprocess or PostprocessSpec(),
            files=tuple(_write_file(folder, path, content) for path, content in files.items()),
            metrics=tuple(metrics),
            provenance=dict(provenance or {}),
            parity=tuple(parity),
        )

    with _writing(Path(target)):
        return _replace(Path(target), fill)


def add_files(
    bundle: Bundle,
    files: Mapping[str, FileContent],
    *,
    parity: Sequence[FileParity] = (),
    provenance: Mapping[str, JsonValue] | None = None,
) -> Bundle:
    """Add files to the bundle, or replace those of the same paths, and return it opened anew; atomic.

    ``parity`` is recorded for the files it names, in place of what was recorded for them; ``provenance`` is
    added to what is remembered.

    Raises:
        BundleError: the bundle is an archive or does not verify, a file does not fit it, or the disk refuses,
            which changes nothing.
    """

    def fill(folder: Path) -> Manifest:
        present = Bundle.open(bundle.path)
        manifest = present.manifest
        for entry in manifest.files:
            if entry.path not in files:
                _link_or_copy(present.path_of(entry), folder / entry.path)
        added = {path: _write_file(folder, path, content) for path, content in files.items()}
        return make(
            Manifest,
            **dict(manifest)
            | {
                "files": (*(added.pop(entry.path, entry) for entry in manifest.files), *added.values()),
                "parity": (*(p for p in manifest.parity if p.file not in files), *parity),
                "provenance": {**manifest.provenance, **(provenance or {})},
            },
        )

    with _writing(_folder(bundle)):
        return _replace(bundle.path, fill)


def copy_bundle(bundle: Bundle, target: str | os.PathLike[str]) -> Bundle:
    """Write the bundle, verified, into the folder ``target``, in place of one that is there; atomic.

    Raises:
        BundleError: a file of the bundle does not verify, there is something else at ``target``, or the disk
            refuses, which changes nothing.
    """

    def fill(folder: Path) -> Manifest:
        for entry in bundle.manifest.files:
            file = folder / entry.path
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(bundle.read(entry.path))
        return bundle.manifest

    with _writing(Path(target)):
        return _replace(Path(target), fill)


def update_manifest(bundle: Bundle, **changes: Any) -> Bundle:
    """Replace fields of the manifest by keyword (``metrics=``, ``postprocess=``, ...); atomic.

    Raises:
        BundleError: the bundle is an archive, its manifest would no longer agree with itself, or the disk
            refuses, which changes nothing.
    """
    return revise_manifest(bundle, lambda _: changes)


def revise_manifest(bundle: Bundle, revise: Callable[[Manifest], Mapping[str, Any]]) -> Bundle:
    """Replace fields of the manifest by those that ``revise`` returns for it, as ``update_manifest`` does.

    ``revise`` gets the manifest as it is on the disk, and no other writer changes it meanwhile.
    """
    with _writing(_folder(bundle)):
        present = Bundle.open(bundle.path).manifest
        manifest = make(Manifest, **dict(present) | dict(revise(present)))
        write_bytes(bundle.path / MANIFEST, _readable(manifest, bundle.path))
        return Bundle.open(bundle.path)


def record_metric(bundle: Bundle, metric: Metric) -> Bundle:
    """Write an accuracy into the manifest, in place of an earlier one of that data set and runtime.

    Raises:
        BundleError: the bundle is an archive, or the disk refuses, which changes nothing.
    """

    def revise(manifest: Manifest) -> Mapping[str, Any]:
        measured = (metric.dataset, metric.through)
        kept = [other for other in manifest.metrics if (other.dataset, other.through) != measured]
        return {"metrics": (*kept, metric)}

    return revise_manifest(bundle, revise)


def pack(bundle: Bundle, path: str | os.PathLike[str]) -> Path:
    """Write the bundle as one ``.zip`` and return where it is. The same bundle gives the same bytes; atomic.

    Raises:
        BundleError: a file of the bundle does not verify, or the disk refuses, which leaves no file.
    """
    path = Path(path)
    with write_errors(path):
        path.parent.mkdir(parents=True, exist_ok=True)
        # Stored, not deflated: weights do not shrink, and the bytes depend on no version of zlib.
        with replacing(path) as part, zipfile.ZipFile(part, "w", zipfile.ZIP_STORED) as archive:
            archive.writestr(_member_info(MANIFEST), serialise(bundle.manifest))
            for entry in bundle.manifest.files:
                archive.writestr(_member_info(entry.path), bundle.read(entry.path))
    return path


@contextmanager
def write_errors(path: Path) -> Iterator[None]:
    """Turn what a full or read-only disk raises while ``path`` is written into a BundleError."""
    try:
        yield
    except OSError as error:
        raise BundleError(
            f"{path} cannot be written: {error.strerror or error}; it is as it was before. "
            "Make room, or choose another folder"
        ) from None


def _folder(bundle: Bundle) -> Path:
    if bundle.path.is_file():
        raise BundleError(f"{bundle.path}: an archive is not changed in place; unpack it and give the folder")
    return bundle.path


@contextmanager
def _writing(target: Path) -> Iterator[None]:
    """Let one writer at a time read, change and replace the bundle at ``target``."""
    with write_errors(target):
        target.parent.mkdir(parents=True, exist_ok=True)
    # A folder whose parent cannot be written to can only have its manifest replaced.
    outside = os.access(target.absolute().parent, os.W_OK)
    path = target.absolute().parent / f".{target.absolute().name}.lock" if outside else target / ".lock"
    try:
        with write_errors(target):
            held = lock(path, wait=_WAIT_SECONDS)
    except LockedError as error:
        raise BundleError(
            f"{target}: {error} has been changing this bundle for {_WAIT_SECONDS / 60:.0f} minutes; "
            "wait until it ends, then run this again"
        ) from None
    with held, write_errors(target):
        yield


def _write_file(folder: Path, name: str, content: FileContent) -> FileEntry:
    entry = make(
        FileEntry,
        path=name,
        format=content.format,
        precision=content.precision,
        sha256="0" * 64,
        bytes=0,
        input=content.input,
        output=content.output,
        features=content.features,
    )
    target = folder / name
    target.parent.mkdir(parents=True, exist_ok=True)
    if isinstance(content.data, Path):
        shutil.copyfile(content.data, target)
    else:
        target.write_bytes(content.data)
    with target.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return entry.model_copy(update={"sha256": digest, "bytes": target.stat().st_size})


def _link_or_copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    try:
        os.link(source, target)
    except OSError:
        shutil.copyfile(source, target)


def check_target(target: str | os.PathLike[str]) -> None:
    """Refuse now a path to which no bundle could be written later.

    Raises:
        BundleError: there is something else than a bundle or an empty folder.
        UsageError: it cannot be written to.
    """
    path = Path(target)
    _check_no_stranger(path)
    check_replaceable(path, option="--output")


def _check_no_stranger(target: Path) -> None:
    replaceable = (target / MANIFEST).is_file() or (target.is_dir() and not any(target.iterdir()))
    if target.exists() and not replaceable:
        raise BundleError(
            f"{target}: there is something here that is no bundle; remove it or choose another path"
        )


def _replace(target: Path, fill: Callable[[Path], Manifest]) -> Bundle:
    """Let ``fill`` write the files of a new folder, finish it with the manifest, and put it at ``target``."""
    target.parent.mkdir(parents=True, exist_ok=True)
    aside = aside_of(target)
    if not target.exists() and aside.exists():
        aside.rename(target)
    _check_no_stranger(target)
    with replacing_folder(target) as staged:
        manifest = fill(staged)
        (staged / MANIFEST).write_bytes(_readable(manifest, target))
    return Bundle.open(target)


def _readable(manifest: Manifest, path: Path) -> bytes:
    """Return the content of ``manifest.json`` for the bundle at ``path``, which a reader will take."""
    content = serialise(manifest)
    parse_manifest(content, path)
    return content


def _member_info(name: str) -> zipfile.ZipInfo:
    info = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    info.external_attr = 0o644 << 16
    return info
