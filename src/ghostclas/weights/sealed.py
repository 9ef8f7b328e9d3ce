"""A sha256 at the end of a file that ``torch.save`` wrote, in the comment that every zip archive may have.

``torch.load`` compares no checksum: of a damaged file it returns other numbers. Everything that opens such a
file without the sha256 opens it with one, too.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

_MARK = b"ghostclas sha256 "
_COMMENT_BYTES = len(_MARK) + 64
_SEAL = _COMMENT_BYTES.to_bytes(2, "little") + _MARK
_SEAL_BYTES = 2 + _COMMENT_BYTES
# An archive without a comment ends in this record: its signature, 16 bytes, and the length of the comment.
_END, _END_BYTES = b"PK\5\6", 22
_PART = 1 << 20


def seal(file: Path) -> None:
    """Append the sha256 of the content to a file of ``torch.save``.

    Raises:
        OSError: the disk refuses.
        ValueError: the file is no archive of ``torch.save``, or has a comment.
    """
    size = file.stat().st_size - 2
    with file.open("r+b") as stream:
        stream.seek(max(size + 2 - _END_BYTES, 0))
        end = stream.read()
        if not (end.startswith(_END) and end.endswith(b"\0\0")):
            raise ValueError(f"{file} does not end as torch.save ends a file")
        digest = _sha256(file, size)
        stream.seek(size)
        stream.write(_SEAL + digest)


def check_seal(file: Path) -> None:
    """Compare the content with the sha256 at its end; a file that has none passes.

    Raises:
        OSError: it cannot be read.
        ValueError: the content is not what was sealed.
    """
    size = file.stat().st_size - _SEAL_BYTES
    if size < 0:
        return
    with file.open("rb") as stream:
        stream.seek(size)
        stored = stream.read()
    if stored.startswith(_SEAL) and stored[len(_SEAL) :] != _sha256(file, size):
        raise ValueError("it is damaged: its content does not have the sha256 that was stored with it")


def _sha256(file: Path, size: int) -> bytes:
    """Return the sha256 of the first ``size`` bytes, in hexadecimal digits."""
    digest = hashlib.sha256()
    with file.open("rb") as stream:
        while size > 0 and (part := stream.read(min(size, _PART))):
            digest.update(part)
            size -= len(part)
    return digest.hexdigest().encode()
