"""Where the files of a bundle are: a folder, or one archive that is read in place."""

from __future__ import annotations

import io
import stat
import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Protocol, cast

from ghostclas.bundle.manifest import MANIFEST, RESTORE, check_name, reason
from ghostclas.errors import BundleError
from ghostclas.files import aside_of

_READING_FAILS = (
    OSError,
    EOFError,
    MemoryError,
    RuntimeError,
    NotImplementedError,
    struct.error,
    zipfile.BadZipFile,
    zlib.error,
)
_MAX_DIRECTORY = 2 * 2**20
"""Bytes of an archive's list of members: 20,000 of them, in about 0.3 seconds."""
_LARGE = 64 * 2**20
_MAX_RATIO = 50
"""How far content of over ``_LARGE`` bytes may be compressed: weights hardly are, zeros are 1,000 times."""
_READABLE = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_MISPLACED = "it does not begin where the archive says"


class Store(Protocol):
    """Where the files of a bundle are, by names that ``check_name`` accepts."""

    def size(self, name: str) -> int:
        """Return the file's size in bytes, or raise BundleError."""

    def open(self, name: str) -> IO[bytes]:
        """Open the file for reading, or raise BundleError."""


class Folder:
    """A bundle in the folder ``root``, which messages call ``named``. Symbolic links in it are refused."""

    def __init__(self, named: Path, root: Path) -> None:
        self.named = named
        self.root = root

    def path(self, name: str) -> Path:
        """Return where ``name`` is."""
        return self.root.joinpath(*PurePosixPath(name).parts)

    def size(self, name: str) -> int:
        """Return the size in bytes of a file that is really there."""
        path = self.root
        try:
            for part in PurePosixPath(name).parts:
                path /= part
                status = path.lstat()
                if stat.S_ISLNK(status.st_mode):
                    raise BundleError(f"{self.named}: {name} is a symbolic link; copy the file itself there")
        except FileNotFoundError:
            raise BundleError(f"{self.named}: {name} is missing; {RESTORE}") from None
        except (OSError, ValueError) as error:
            raise _unreadable(self.named, name, error) from None
        if not stat.S_ISREG(status.st_mode):
            raise BundleError(f"{self.named}: {name} is not a regular file; {RESTORE}")
        return status.st_size

    def open(self, name: str) -> IO[bytes]:
        """Open ``name`` for reading."""
        self.size(name)
        try:
            return self.path(name).open("rb")
        except OSError as error:
            raise _unreadable(self.named, name, error) from None


class Archive:
    """A bundle at the top of an archive, or in the one folder at its top, as file managers make them."""

    def __init__(self, named: Path) -> None:
        self.named = named
        self.members: dict[str, zipfile.ZipInfo] = {}
        try:
            size = named.stat().st_size
            with _Listing(named) as file, zipfile.ZipFile(file) as archive:
                members = archive.infolist()
        except (*_READING_FAILS, ValueError) as error:
            raise BundleError(
                f"{named}: not a complete .zip archive ({reason(error)}); copy or download it again"
            ) from None
        if sum(member.compress_size for member in members) > size:
            raise BundleError(f"{named}: refused, nothing was unpacked: its members lie over each other")
        unpacked = sum(member.file_size for member in members)
        if unpacked > max(_LARGE, _MAX_RATIO * size):
            raise BundleError(
                f"{named}: refused, nothing was unpacked: its {size:,} bytes would become {unpacked:,}; "
                "unpack it yourself if you trust it, and give the folder"
            )
        for member in members:
            name = member.filename.removesuffix("/")
            try:
                check_name(name)
            except ValueError as error:
                raise BundleError(f"{named}: refused, nothing was unpacked: {error}") from None
            if stat.S_ISLNK(member.external_attr >> 16):
                raise BundleError(f"{named}: refused, nothing was unpacked: {name} is a symbolic link")
            if member.is_dir():
                continue
            if name in self.members:
                raise BundleError(f"{named}: refused, nothing was unpacked: it holds {name} twice")
            self.members[name] = member
        self.top = "" if MANIFEST in self.members else self._only_folder()

    def _only_folder(self) -> str:
        found = [name for name in self.members if name.count("/") == 1 and name.endswith(f"/{MANIFEST}")]
        if len(found) > 1:
            raise BundleError(f"{self.named}: holds {len(found)} bundles; unpack it and give one of them")
        return found[0].removesuffix(MANIFEST) if found else ""

    def _member(self, name: str) -> zipfile.ZipInfo:
        member = self.members.get(self.top + name)
        if member is None:
            raise BundleError(f"{self.named}: {name} is missing; {RESTORE}")
        if member.flag_bits & 1:
            raise BundleError(f"{self.named}: {name} is encrypted; unpack the archive first")
        if member.compress_type not in _READABLE:
            raise BundleError(
                f"{self.named}: {name} is compressed in an unusual way; unpack it and give the folder"
            )
        return member

    def size(self, name: str) -> int:
        """Return the size in bytes of a file that is really there."""
        return self._member(name).file_size

    def open(self, name: str) -> IO[bytes]:
        """Open ``name`` for reading."""
        member = self._member(name)
        # Not ``ZipFile.open``: that reads the list of all members again for each of them.
        with io_errors(self.named, name):
            file = self.named.open("rb")
            try:
                last = file.seek(0, io.SEEK_END) - _LOCAL_HEADER.size
                if not 0 <= member.header_offset <= last:
                    raise zipfile.BadZipFile(_MISPLACED)
                file.seek(member.header_offset)
                mark, name_size, extra_size = _LOCAL_HEADER.unpack(file.read(_LOCAL_HEADER.size))
                if mark != b"PK\x03\x04":
                    raise zipfile.BadZipFile(_MISPLACED)
                file.seek(name_size + extra_size, io.SEEK_CUR)
                return cast("IO[bytes]", zipfile.ZipExtFile(file, "r", member, None, True))
            except BaseException:
                file.close()
                raise


class _Listing(io.FileIO):
    """An archive while the list of its members is read, all of it at once."""

    def read(self, size: int | None = -1) -> bytes:
        """Read as any file; more bytes than a list has raise BadZipFile."""
        if size is not None and size > _MAX_DIRECTORY:
            raise zipfile.BadZipFile(f"the list of its members has {size:,} bytes")
        return super().read(-1 if size is None else size)


def open_store(path: Path) -> Store:
    """Return what holds the bundle at ``path``, or raise BundleError."""
    if path.is_dir():
        return Folder(path, path)
    if path.is_file():
        return Archive(path)
    if aside_of(path).is_dir():
        return Folder(path, aside_of(path))
    raise BundleError(f"{path}: there is no bundle here; a bundle is a folder with {MANIFEST}, or its .zip")


@contextmanager
def io_errors(path: Path, name: str) -> Iterator[None]:
    """Turn whatever reading ``name`` of the bundle at ``path`` raises into a BundleError."""
    try:
        yield
    except _READING_FAILS as error:
        raise _unreadable(path, name, error) from None


def _unreadable(path: Path, name: str, error: Exception) -> BundleError:
    return BundleError(f"{path}: {name} cannot be read ({reason(error)}); {RESTORE}")
