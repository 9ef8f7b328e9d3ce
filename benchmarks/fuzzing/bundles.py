"""Bundles, as ``info`` and ``verify`` read them: an archive, a folder's manifest, the reference answers."""

from __future__ import annotations

import hashlib
import io
import re
import zipfile
from pathlib import Path
from random import Random

from fuzzing.mutation import scramble, scramble_json
from fuzzing.target import Target
from ghostclas.bundle import Bundle, Reference
from ghostclas.errors import BundleError
from tests.bundle.made import a_reference, write

_DIGEST = re.compile(rb'("digest": ")([0-9a-f]{64})')
_WHEN = (2020, 1, 1, 0, 0, 0)


def _read(path: Path) -> None:
    bundle = Bundle.open(path)
    bundle.check()
    bundle.reference()
    assert bundle.file().path.is_file()


def _read_folder(manifest: Path) -> None:
    _read(manifest.parent)


def _read_reference(path: Path) -> None:
    try:
        Reference.from_bytes(path.read_bytes())
    except ValueError as error:  # what ``Bundle.reference`` turns into one line
        raise BundleError(str(error)) from None


def _archive(folder: Path, how: int, top: str = "") -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", how) as archive:
        for file in sorted(folder.iterdir()):
            archive.writestr(zipfile.ZipInfo(top + file.name, _WHEN), file.read_bytes(), how)
    return buffer.getvalue()


def _archives(folder: Path) -> list[bytes]:
    made = write(folder / "bundle").path
    methods = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED, zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA)
    return [*(_archive(made, how) for how in methods), _archive(made, zipfile.ZIP_DEFLATED, "a model/")]


def _manifests(folder: Path) -> list[bytes]:
    return [(write(folder / "bundle").path / "manifest.json").read_bytes()]


def _mutate_manifest(data: bytes, rng: Random) -> bytes:
    changed = scramble_json(data, rng) if rng.random() < 0.6 else scramble(data, rng)
    if rng.random() < 0.9:
        blank = _DIGEST.sub(rb"\g<1>" + b"0" * 64, changed, count=1)
        digest = hashlib.sha256(blank).hexdigest().encode()
        return _DIGEST.sub(rb"\g<1>" + digest, blank, count=1)
    return changed


def _references(_folder: Path) -> list[bytes]:
    return [a_reference().to_bytes(), a_reference(side=8, classes=1).to_bytes()]


def _mutate_reference(data: bytes, rng: Random) -> bytes:
    size = int.from_bytes(data[:8], "little")
    if rng.random() < 0.3:
        return scramble(data, rng)
    header = data[8 : 8 + size]
    changed = (
        scramble_json(header, rng) if rng.random() < 0.5 else scramble(header, rng, [b"F32", b"U8", b"I64"])
    )
    return len(changed).to_bytes(8, "little") + changed + data[8 + size :]


def _beside(folder: Path) -> None:
    write(folder)


ARCHIVE = Target(
    "bundle.zip", _archives, lambda data, rng: scramble(data, rng, [b"PK\1\2", b"PK\5\6"]), _read
)
MANIFEST_FILE = Target("manifest.json", _manifests, _mutate_manifest, _read_folder, _beside)
REFERENCE_FILE = Target("reference.safetensors", _references, _mutate_reference, _read_reference)
