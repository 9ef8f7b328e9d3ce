"""Faulty images."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image


def rescaled(content: bytes) -> bytes:
    out = io.BytesIO()
    Image.open(io.BytesIO(content)).resize((80, 64), Image.Resampling.BICUBIC).save(out, "JPEG", quality=80)
    return out.getvalue()


def encoded(pixels: np.ndarray, kind: str) -> bytes:
    out = io.BytesIO()
    Image.fromarray(pixels).save(out, kind)
    return out.getvalue()
