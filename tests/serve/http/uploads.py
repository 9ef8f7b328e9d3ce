"""Request bodies for tests."""

from __future__ import annotations

import base64
import gzip
import json
import struct
from collections.abc import Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ghostclas.imaging import preprocess
from tests.images import bad_images
from tests.serve.served import builtin_bundle, jpeg

BAD_IMAGES = bad_images()

JSON = {"Content-Type": "application/json"}
LENGTH = "Inference-Header-Content-Length"


def text(data: bytes) -> str:
    """Return bytes as base64."""
    return base64.b64encode(data).decode()


def multipart(*parts: bytes, boundary: str = "x1y2", name: str = "image") -> tuple[bytes, dict[str, str]]:
    """Return a body and its header; the file names and types of its parts lie."""
    disposition = f'form-data; name="{name}"; filename="../../etc/passwd"'.encode()
    pieces = [
        b"--%b\r\nContent-Disposition: %b\r\nContent-Type: text/plain\r\n\r\n%b\r\n"
        % (boundary.encode(), disposition, part)
        for part in parts
    ]
    whole = b"".join([*pieces, b"--%b--\r\n" % boundary.encode()])
    return whole, {"Content-Type": f"multipart/form-data; boundary={boundary}"}


def pixels(*seeds: int) -> NDArray[np.uint8]:
    """Return the pixels of photos as the network sees them, uint8 ``[N, side, side, 3]``."""
    return np.stack([preprocess(jpeg(seed), builtin_bundle().preprocess) for seed in seeds])


def element(data: bytes) -> bytes:
    """Return an element of a BYTES tensor."""
    return struct.pack("<I", len(data)) + data


def encoded_input(count: int, size: int | None = None, **more: Any) -> dict[str, Any]:
    """Return the input ``encoded``, with its bytes behind the JSON if a size is given."""
    one: dict[str, Any] = {"name": "encoded", "datatype": "BYTES", "shape": [count], **more}
    return one if size is None else {**one, "parameters": {"binary_data_size": size}}


def pixels_input(shape: list[int], size: int | None = None, **more: Any) -> dict[str, Any]:
    """Return the input ``images``."""
    one: dict[str, Any] = {"name": "images", "datatype": "UINT8", "shape": shape, **more}
    return one if size is None else {**one, "parameters": {"binary_data_size": size}}


def with_tail(request: dict[str, Any], tail: bytes) -> tuple[bytes, dict[str, str]]:
    """Return the body and the headers of a request with binary tensors."""
    head = json.dumps(request).encode()
    return head + tail, {"Content-Type": "application/octet-stream", LENGTH: str(len(head))}


def in_pieces(data: bytes, size: int = 1000) -> Iterator[bytes]:
    """Yield a body so that the client sends it chunked."""
    for start in range(0, len(data), size):
        yield data[start : start + size]


def gzip_bomb(size: int) -> bytes:
    """Return zeros, compressed a thousandfold."""
    return gzip.compress(bytes(size), mtime=0)
