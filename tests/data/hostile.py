"""Members that no ``.tar`` of images should have, and a way to write them."""

from __future__ import annotations

import io
import tarfile

HOSTILE = {
    "absolute": ("/tmp/evil.JPEG", tarfile.REGTYPE, "", "plain relative path"),
    "parent": ("../evil.JPEG", tarfile.REGTYPE, "", "plain relative path"),
    "parent inside": ("a/../../evil.JPEG", tarfile.REGTYPE, "", "plain relative path"),
    "backslash": ("..\\evil.JPEG", tarfile.REGTYPE, "", "plain relative path"),
    "drive": ("C:evil.JPEG", tarfile.REGTYPE, "", "plain relative path"),
    "control": ("a\x1b[31m.JPEG", tarfile.REGTYPE, "", "plain relative path"),
    "symbolic link": ("link.JPEG", tarfile.SYMTYPE, "/etc/passwd", "a symbolic link"),
    "linked folder": ("n1", tarfile.SYMTYPE, "..", "a symbolic link"),
    "hard link": ("hard.JPEG", tarfile.LNKTYPE, "good.JPEG", "a hard link"),
    "device": ("null.JPEG", tarfile.CHRTYPE, "", "a device"),
    "disk": ("disk.JPEG", tarfile.BLKTYPE, "", "a device"),
    "pipe": ("pipe.JPEG", tarfile.FIFOTYPE, "", "a pipe"),
    "twice": ("good.JPEG", tarfile.REGTYPE, "", "occurs twice"),
    "twice, disguised": ("./good.JPEG", tarfile.REGTYPE, "", "occurs twice"),
}
"""Name, type, link and what the refusal says."""


def add(
    tar: tarfile.TarFile, name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE, link: str = ""
) -> None:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    info.size = len(content) if kind == tarfile.REGTYPE else 0
    tar.addfile(info, io.BytesIO(content))
