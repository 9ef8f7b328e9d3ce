"""Certificates of servers and clients that tests trust."""

from __future__ import annotations

import subprocess
from pathlib import Path


def make_certificate(folder: Path, name: str = "localhost") -> tuple[Path, Path]:
    """Write a self-signed certificate for ``name`` and 127.0.0.1; return its file and that of its key."""
    chain, key = folder / f"{name}.pem", folder / f"{name}.key"
    new = [
        "req",
        "-x509",
        "-newkey",
        "ec",
        "-pkeyopt",
        "ec_paramgen_curve:prime256v1",
        "-nodes",
        "-days",
        "2",
    ]
    subject = ["-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name},IP:127.0.0.1"]
    subprocess.run(
        ["openssl", *new, *subject, "-keyout", str(key), "-out", str(chain)], check=True, capture_output=True
    )
    return chain, key
