"""The one path from an encoded photo to the pixels that a network sees, and from logits to ranked scores.

Validation in training, prediction and evaluation call this module, and other languages may port it. So this
text defines every step, and ``tests/golden`` holds vectors that any port must match.

**Decoding.** The first bytes decide the format, never the file name. Each format in ``FORMATS`` is opened by
its own Pillow decoder, so no file reaches Pillow's other plugins, some of which start programs. The first of
several frames counts. Everything becomes 8-bit RGB:

- transparency of any kind is composited over white: ``round((c * a + 255 * (255 - a)) / 255)``;
- 16-bit and 32-bit grey is ``(v + 128) // 257`` of 0..65535; 16-bit colour keeps its high byte;
- floating-point grey spans 0..1 if its largest value is at most 1.5, else 0..255 if that is at most
  1.5 * 255, else 0..65535; values that overshoot the span, by up to half of it at either end, are clipped;
- palette, 1-bit, grey, YCbCr, LAB and CMYK (JPEG: inverted, as Adobe writes it) convert as Pillow does;
- colour profiles are ignored; the EXIF orientation is applied when asked for, XMP's is not;
- HEIC and HEIF, where pillow-heif is installed, come upright from libheif, with 10 bits rounded to 8.

**Decoder scaling.** Given ``short_side``, a JPEG is decoded at the smallest of the scales 1, 1/2, 1/4 and 1/8
whose short side is still at least ``2 * short_side``: at 1/s for the largest s with
``min(width, height) // (2 * short_side) >= s``. The scaled size is rounded up and does not depend on the
orientation. Smaller JPEGs are decoded in full.

**Geometry.** Scaling so that the short side becomes ``short_side`` and cutting the centred ``crop`` square is
one resampling of a box of the source, in source pixels with (0, 0) the outer corner of the first pixel.
For a source of ``w x h`` with ``m = min(w, h)``, and ``//`` rounding down::

    left = (w * short_side - crop * m) // (2 * m) * m / short_side      top: the same with h
    right = left + crop * m / short_side                                bottom = top + crop * m / short_side

The crop therefore begins on a whole pixel of the scaled image, whose own size is never rounded. Both axes
have exactly the same scale, and an image that already has the right short side is cut without resampling.
The box is inside the image for every size. In a 1 x 5000 image it is a part of one pixel, which is enlarged.
Box corners are rounded to float32, and so is the difference of two.

Resampling is Pillow's ``resize``, horizontally and then vertically, with uint8 between the passes and weights
in 22-bit fixed point. When shrinking, the scale widens the filter (antialiasing); bicubic has a = -0.5.
``nearest`` takes the source pixel under the centre of each output pixel. ``antialias=False`` interpolates
there between 2 x 2 or 4 x 4 pixels (bicubic with a = -1), by Pillow's ``transform``, and truncates to uint8.
Neither uses decoder scaling. ``lanczos`` has no form without antialiasing and is refused.

**Whole sizes.** With ``resize.library``, geometry is PaddleClas' instead: the photo, decoded in full, is
scaled to ``round(w * (short_side / m)) x round(h * (short_side / m))``, halves to even, or stretched to
``resize.size``. The crop is then cut at ``(width - crop) // 2`` and ``(height - crop) // 2``. ``pillow``
scales by one call of Pillow's ``resize``. ``opencv`` scales as ``opencv_resize`` does, bit by bit.

**Safety.** The size in the header is checked against ``MAX_PIXELS`` before anything is decoded, and what
decoding will take against ``image_limits``: a file of at most 10 MB is read in 400 MB of memory or refused, a
larger one in proportion. Large images of all threads wait for each other until they fit into 400 MB together;
one that takes more is decoded alone. Of a process and its forks, one at a time decodes images of over 100 MB.
Some of Pillow's decoders apply ``PIL.Image.MAX_IMAGE_PIXELS`` themselves, so TIFF is checked against it as
well, and WebP against twice its value. The first TIFF silences libtiff for the whole process. No function
changes other global state, so all may be called from many threads at once. A damaged or hostile file always
results in an ``ImageError``.
"""

from __future__ import annotations

import math
import os
import stat
import struct
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray
from PIL import Image

from ghostclas.errors import GhostclasError, ImageError, UsageError, as_url, is_url
from ghostclas.image_files import ORIENTATION_TAG, format_of, identify, open_image, orientation
from ghostclas.image_limits import MEMORY, RGB_BYTES, check_file, check_image, conversion_bytes
from ghostclas.memory import ForkLock, MemoryBudget, return_freed
from ghostclas.spec import PreprocessSpec

ImageSource: TypeAlias = str | os.PathLike[str] | bytes | Image.Image | NDArray[Any]
"""A path, encoded bytes, a Pillow image, or uint8 pixels: grey ``[H, W]``, RGB or RGBA ``[H, W, 3 or 4]``."""

Box: TypeAlias = tuple[float, float, float, float]

MAX_PIXELS = 200_000_000
"""The largest width x height that is decoded; the largest sensors of phones are just below it."""

MAX_BYTES = 2**31
"""The largest file that is read into memory."""

DRAFT_MARGIN = 2
"""A JPEG that the decoder scales keeps at least this many times the wanted short side."""

_RESAMPLING = {
    "nearest": Image.Resampling.NEAREST,
    "bilinear": Image.Resampling.BILINEAR,
    "bicubic": Image.Resampling.BICUBIC,
    "lanczos": Image.Resampling.LANCZOS,
}

_UPRIGHT = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}

_SUPPORT = {"bilinear": 1, "bicubic": 2, "lanczos": 3}
"""How far a filter reaches to each side, in pixels of the result when shrinking, else of the source."""

_NARROW_BYTES = 2**25
"""An image whose rows take more after the horizontal pass is cut to the rows that the vertical one reads."""

_PIXELS_AT_ONCE = 2**20
"""Deep grey is converted in parts of about so many pixels."""

_BUDGET = MemoryBudget(MEMORY)
"""Large images wait for each other, in all threads; one that needs more than this is decoded alone."""

_LARGE = 100_000_000
"""An image that takes so many bytes is decoded in one process of forks at a time, which first returns what it
has freed."""

_LARGE_IMAGES = ForkLock()

_ROWS_AT_ONCE = 32
"""Rows of the result for which ``opencv_resize`` copies those of the source that they come from."""

_FLOAT_SPANS = (1.0, 255.0, 65535.0)
_OVERSHOOT = 0.5
"""How far floating-point grey may lie outside its span, as a fraction of it."""

# ------------------------------------------------------------------ pixels


def preprocess(
    source: ImageSource, spec: PreprocessSpec, *, out: NDArray[np.uint8] | None = None
) -> NDArray[np.uint8]:
    """Decode, scale and crop one image into the network's input.

    Args:
        source: where the image is, or the image; it is not modified.
        spec: how.
        out: uint8 ``[crop, crop, 3]`` to write into and return, such as one place in a batch. An error
            leaves it unchanged.

    Returns:
        uint8 ``[crop, crop, 3]``, RGB, C-contiguous and writable. The network applies mean and std.

    Raises:
        ImageError: see ``decode``.
        UsageError: the spec asks for lanczos without antialiasing, or the source is of no known type.
    """
    smaller = spec.resize.short_side if spec.resize.shrinks_decoder else None
    with _decoded(source, smaller, spec.exif) as image:
        fitted = _fit(image, spec)
        if out is None:
            return np.array(fitted)
        out[...] = np.asarray(fitted)
        return out


def decode(source: ImageSource, *, short_side: int | None = None, exif: bool = True) -> Image.Image:
    """Decode one image to 8-bit RGB.

    Args:
        source: where the image is, or the image; it is not modified.
        short_side: the short side to which the image will be scaled. Large JPEGs may then be returned
            smaller than they are, by this module's rule for decoder scaling. ``None`` decodes in full.
        exif: turn the image upright as its EXIF orientation says.

    Returns:
        A new image in mode RGB, turned upright.

    Raises:
        ImageError: with one of the codes ``not_found``; ``unreadable`` (a folder, no permission, not a
            regular file); ``empty``; ``not_an_image`` (the content is no image format at all); ``truncated``
            (cut short or damaged); ``too_large``; ``unsupported`` (a format, pixel type or array that is
            not read here).
        UsageError: the source is of no known type.
    """
    with _decoded(source, short_side, exif) as image:
        return image.copy() if image is source else image


def fit(image: Image.Image, spec: PreprocessSpec) -> NDArray[np.uint8]:
    """Scale and crop a decoded RGB image in one resampling, by the geometry in this module's docstring.

    Returns:
        uint8 ``[crop, crop, 3]``.

    Raises:
        UsageError: the image is not RGB, or the spec asks for lanczos without antialiasing.
    """
    return np.array(_fit(image, spec))


def _fit(image: Image.Image, spec: PreprocessSpec) -> Image.Image:
    if image.mode != "RGB":
        raise UsageError(f"fit takes RGB images, got mode {image.mode!r}; decode converts every mode")
    if spec.resize.library is not None:
        return _fit_whole(image, spec)
    size = (spec.crop, spec.crop)
    left, top, right, bottom = box = crop_box(*image.size, spec)
    resampling = _RESAMPLING[spec.resize.interpolation]
    if resampling == Image.Resampling.NEAREST:
        return image.resize(size, resampling, box=box)
    if spec.resize.antialias:
        # Two calls fix which axis comes first, and thus the rounding; in one, Pillow's version would decide.
        first, last = _rows_read(image.height, top, bottom, spec)
        rows = image.crop((0, first, image.width, last)) if last - first < image.height else image
        narrow = rows.resize((spec.crop, rows.height), resampling, box=(left, 0, right, rows.height))
        # Differences of float32 numbers and whole ones are exact here.
        top, bottom = (float(np.float32(edge)) - first for edge in (top, bottom))
        return narrow.resize(size, resampling, box=(0, top, spec.crop, bottom))
    if resampling == Image.Resampling.LANCZOS:
        raise UsageError(
            "resize.interpolation 'lanczos' needs resize.antialias true; "
            "without antialiasing use nearest, bilinear or bicubic"
        )
    return image.transform(size, Image.Transform.EXTENT, box, resampling)


def _fit_whole(image: Image.Image, spec: PreprocessSpec) -> Image.Image:
    """Scale to a whole size, then cut; see "Whole sizes" in this module's docstring."""
    width, height = size = spec.resize.size or whole_size(*image.size, spec.resize.short_side)
    left, top = (width - spec.crop) // 2, (height - spec.crop) // 2
    part = (left, top, left + spec.crop, top + spec.crop)
    if spec.resize.library == "opencv":
        return Image.fromarray(opencv_resize(image, size, part))
    if width * height > MAX_PIXELS:
        raise ImageError(
            "too_large", f"scaled, the image has {width} x {height} pixels; cut its long side first"
        )
    return image.resize(size, _RESAMPLING[spec.resize.interpolation]).crop(part)


def whole_size(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Return the size to which PaddleClas scales a photo."""
    scale = short_side / min(width, height)
    return round(width * scale), round(height * scale)


def opencv_resize(
    image: Image.Image, size: tuple[int, int], part: tuple[int, int, int, int] | None = None
) -> NDArray[np.uint8]:
    """Scale as OpenCV's ``resize`` with ``INTER_LINEAR`` does, with the same bits.

    Weights have 11 bits. Rows are mixed horizontally in whole numbers, which are shifted by 4 before they are
    mixed vertically. Halving both sides exactly is the mean of 2 x 2 pixels instead. The source is OpenCV's
    ``modules/imgproc/src/resize.cpp``.

    Args:
        image: an RGB image.
        size: (width, height) to scale to.
        part: (left, top, right, bottom) of the result that is wanted; all of it when absent.

    Returns:
        uint8 ``[H, W, 3]``.
    """
    left, top, right, bottom = part or (0, 0, *size)
    if image.size == size:
        return np.asarray(image.crop((left, top, right, bottom)))
    if image.size == (2 * size[0], 2 * size[1]):
        four = np.asarray(image.crop((2 * left, 2 * top, 2 * right, 2 * bottom)), np.uint16)
        sums = four[::2, ::2] + four[::2, 1::2] + four[1::2, ::2] + four[1::2, 1::2]
        return ((sums + 2) >> 2).astype(np.uint8)
    last_column = image.width - 1
    columns, share = _opencv_places(image.width, size[0], left, right)
    # Where a neighbour is missing, the pixel at the edge has all the weight.
    share = np.where((columns < 0) | (columns >= last_column), np.float32(0), share)
    pairs = [(columns + step).clip(0, last_column) for step in (0, 1)]
    across = [weights[:, None] for weights in _opencv_weights(share)]
    result = np.empty((bottom - top, right - left, 3), np.uint8)
    for begin in range(top, bottom, _ROWS_AT_ONCE):
        end = min(begin + _ROWS_AT_ONCE, bottom)
        rows, share = _opencv_places(image.height, size[1], begin, end)
        lines = [(rows + step).clip(0, image.height - 1) for step in (0, 1)]
        first = int(lines[0].min())
        source = np.asarray(image.crop((0, first, image.width, int(lines[1].max()) + 1)))
        total = np.int32(2)
        for line, weights in zip(lines, _opencv_weights(share), strict=True):
            near, far = (source[line[:, None] - first, pair].astype(np.int32) for pair in pairs)
            mixed = near * across[0] + far * across[1]
            total = total + (((mixed >> 4) * weights[:, None, None]) >> 16)
        result[begin - top : end - top] = total >> 2
    return result


def _opencv_places(
    source: int, target: int, first: int, last: int
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return the pixel before each place of the result, and how far behind it the place is, 0 to 1."""
    scale = source / target
    places = ((np.arange(first, last) + 0.5) * scale - 0.5).astype(np.float32)
    before = np.floor(places)
    return before.astype(np.int64), places - before


def _opencv_weights(share: NDArray[np.float32]) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    one = np.float32(1)
    scale = np.float32(2048)
    return np.rint((one - share) * scale).astype(np.int32), np.rint(share * scale).astype(np.int32)


def _rows_read(height: int, top: float, bottom: float, spec: PreprocessSpec) -> tuple[int, int]:
    """Return the rows, first and behind the last, that the vertical pass reads; all, if that is no waste."""
    if height * spec.crop * RGB_BYTES <= _NARROW_BYTES:
        return 0, height
    scale = max((bottom - top) / spec.crop, 1)
    margin = math.ceil(_SUPPORT[spec.resize.interpolation] * scale) + 1
    return max(math.floor(top) - margin, 0), min(math.ceil(bottom) + margin, height)


def crop_box(width: int, height: int, spec: PreprocessSpec) -> Box:
    """Return (left, top, right, bottom), the part of a ``width x height`` source that the network sees."""
    short_side, crop, short = spec.resize.short_side, spec.crop, min(width, height)
    side = crop * short / short_side
    left = (width * short_side - crop * short) // (2 * short) * short / short_side
    top = (height * short_side - crop * short) // (2 * short) * short / short_side
    # The sums may exceed the image by one unit in the last place, which Pillow refuses.
    return left, top, min(left + side, width), min(top + side, height)


# ------------------------------------------------------------------ scores


def softmax(logits: ArrayLike, temperature: float = 1.0) -> NDArray[np.float32]:
    """Return ``exp(logits / temperature)`` scaled to sum to 1 along the last axis, in float32.

    Args:
        logits: ``[N, C]`` (or any shape whose last axis is the classes). -inf is a probability of 0.
        temperature: positive; above 1 flattens.

    Raises:
        GhostclasError: the logits hold NaN or +inf, or nothing but -inf: the network overflowed.
        UsageError: the temperature is not a positive number.
    """
    if not 0 < temperature < np.inf:
        raise UsageError(f"temperature must be a positive number, got {temperature}")
    with np.errstate(over="ignore"):
        values = np.asarray(logits, dtype=np.float32)
        top = values.max(axis=-1, keepdims=True)
        if not np.isfinite(top).all():
            raise GhostclasError(_broken_scores("logits", top))
        scores = np.exp((values - top) / np.float32(temperature))
    return np.asarray(scores / scores.sum(axis=-1, keepdims=True), dtype=np.float32)


def top_k(scores: ArrayLike, k: int) -> NDArray[np.int64]:
    """Return the indices of the ``k`` largest scores along the last axis, best first.

    Equal scores keep the order of their indices, so that all runtimes rank alike.

    Args:
        scores: ``[N, C]`` (or any shape whose last axis is the classes).
        k: at least 1; more than C gives all C.

    Returns:
        int64 ``[N, min(k, C)]``.

    Raises:
        GhostclasError: the scores hold NaN.
        UsageError: k is less than 1.
    """
    if k < 1:
        raise UsageError(f"top must be at least 1, got {k}")
    values = np.asarray(scores)
    if not np.issubdtype(values.dtype, np.floating):
        values = values.astype(np.float64)
    if np.isnan(values).any():
        raise GhostclasError(_broken_scores("scores", values.max(axis=-1, keepdims=True)))
    return np.argsort(-values, axis=-1, kind="stable")[..., :k].astype(np.int64, copy=False)


def _broken_scores(what: str, top: NDArray[Any]) -> str:
    rows = ~np.isfinite(top.reshape(-1))
    return (
        f"the {what} of image {int(rows.argmax())} in a batch of {rows.size} are not finite: "
        "the model overflowed or is damaged; use its fp32 file, or verify the bundle"
    )


# ------------------------------------------------------------------ sources


@contextmanager
def _decoded(source: ImageSource, short_side: int | None, exif: bool) -> Iterator[Image.Image]:
    """Hold what ``decode`` returns, and its part of the budget; an upright RGB Pillow image is handed on."""
    name = str(source) if isinstance(source, str | os.PathLike) else "the image"
    try:
        with ExitStack() as held:
            yield _decode(name, source, short_side, exif, held)
    except MemoryError:
        raise ImageError("too_large", f"{name} does not fit into memory; make it smaller first") from None


def _decode(
    name: str, source: ImageSource, short_side: int | None, exif: bool, held: ExitStack
) -> Image.Image:
    if isinstance(source, np.ndarray):
        return _from_array(source, held)
    if isinstance(source, Image.Image):
        return _from_pillow(name, source, exif, held)
    if isinstance(source, bytes | bytearray | memoryview):
        return _from_bytes(name, bytes(source), short_side, exif, held)
    if isinstance(source, str | os.PathLike):
        return _from_bytes(name, _read(Path(source)), short_side, exif, held)
    raise UsageError(
        f"an image is a path, encoded bytes, a Pillow image or a uint8 array, not {type(source).__name__}"
    )


def _hold(held: ExitStack, needed: int) -> None:
    """Wait for the memory that decoding needs; ``held`` returns it."""
    if needed > _LARGE:
        held.enter_context(_LARGE_IMAGES.hold())
    held.enter_context(_BUDGET.hold(needed))
    if needed > _LARGE:
        return_freed()


def _read(path: Path) -> bytes:
    try:
        status = path.stat()
        # Opening a pipe or a device can block or never end.
        if not stat.S_ISREG(status.st_mode):
            kind = "a folder" if stat.S_ISDIR(status.st_mode) else "not a regular file"
            raise ImageError("unreadable", f"{path} is {kind}; give the path of an image file")
        if status.st_size > MAX_BYTES:
            raise ImageError("too_large", f"{path} has {status.st_size:,} bytes, the limit is {MAX_BYTES:,}")
        return path.read_bytes()
    except FileNotFoundError:
        if is_url(str(path)):
            why = f"{as_url(str(path))} is a URL: download it first, then give the file"
        else:
            why = f"{path} does not exist"
        raise ImageError("not_found", why) from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise ImageError("unreadable", f"{path} cannot be read: {reason}") from None


def _from_array(array: NDArray[Any], held: ExitStack) -> Image.Image:
    shape = " x ".join(map(str, array.shape))
    if array.dtype != np.uint8 or not (array.ndim == 2 or (array.ndim == 3 and array.shape[2] in (3, 4))):
        raise ImageError(
            "unsupported",
            f"the array is {array.dtype} [{shape}]; give uint8 [H, W], [H, W, 3] RGB or [H, W, 4] RGBA",
        )
    if array.size == 0:
        raise ImageError("empty", f"the array has no pixels: [{shape}]")
    _check_size("the array", array.shape[1], array.shape[0])
    _hold(held, array.shape[0] * array.shape[1] * 3 * RGB_BYTES)
    return _to_rgb("the array", Image.fromarray(np.ascontiguousarray(array)))


def _from_pillow(name: str, source: Image.Image, exif: bool, held: ExitStack) -> Image.Image:
    if min(source.size) < 1:
        raise ImageError("empty", f"the image has no pixels: {source.width} x {source.height}")
    _check_size(name, *source.size)
    _hold(held, source.width * source.height * (RGB_BYTES + conversion_bytes(source)))
    try:
        source.load()
        return _upright(_to_rgb(name, source), source.getexif().get(ORIENTATION_TAG, 1) if exif else 1)
    except (ImageError, MemoryError):
        raise
    except Exception as error:
        raise _refusal(name, source.format or "Pillow", error) from error


def _from_bytes(name: str, data: bytes, short_side: int | None, exif: bool, held: ExitStack) -> Image.Image:
    kind = identify(name, data)
    try:
        buffers = check_file(name, kind, data)
        image = open_image(name, kind, data)
        size = image.size
        _check_size(name, *size, kind)
        if short_side is not None and kind == "JPEG":
            kept = DRAFT_MARGIN * short_side
            image.draft(None, (kept, kept))
        turn = orientation(kind, data, image) if exif else 1
        needed = check_image(
            name, kind, image, data, full_size=size, buffers=buffers, turned=turn in _UPRIGHT
        )
        _hold(held, needed)
        image.load()
        # Only one of the two is kept while the other is turned.
        upright = _to_rgb(name, image)
        del image
        return _upright(upright, turn)
    except (ImageError, MemoryError):
        raise
    except Exception as error:  # decoders raise nearly every class there is for a damaged file
        raise _refusal(name, kind, error) from error


def _refusal(name: str, kind: str, error: Exception) -> ImageError:
    """Return the ImageError for a decoder's exception."""
    reason = " ".join(str(error).split())[:160]
    if not reason or isinstance(
        error.__cause__ or error, EOFError | IndexError | OverflowError | struct.error
    ):
        reason = "its content ends or breaks off unexpectedly"
    if isinstance(error, Image.DecompressionBombError):
        return ImageError("too_large", f"{name} is too large: {reason}")
    if isinstance(error, ImportError):
        return ImageError(
            "unsupported", f"{name} is {kind}, which needs a newer Pillow: pip install -U pillow"
        )
    if any(words in reason.lower() for words in ("support", "cannot handle", "unknown pixel mode")):
        return ImageError(
            "unsupported", f"{name} holds {kind} data of a kind that is not read ({reason}); save it as PNG"
        )
    return ImageError("truncated", f"{name} is cut short or damaged ({kind}: {reason}); get the file again")


def _check_size(name: str, width: int, height: int, kind: str | None = None) -> None:
    limit, multiple = MAX_PIXELS, format_of(kind).pillow_limit if kind else None
    if multiple and Image.MAX_IMAGE_PIXELS is not None:
        limit = min(limit, multiple * Image.MAX_IMAGE_PIXELS)
    if width * height > limit:
        raise ImageError(
            "too_large",
            f"{name} has {width} x {height} = {width * height:,} pixels, the limit is {limit:,}; "
            "make it smaller first",
        )


# ------------------------------------------------------------------ colour and orientation


def _to_rgb(name: str, image: Image.Image) -> Image.Image:
    """Convert any mode to RGB, over white; an RGB image without transparency is returned as it is."""
    if image.mode in ("F", "I") or image.mode.startswith("I;16"):
        return _deep_grey_to_rgb(name, image)
    if image.has_transparency_data:
        rgba = image.convert("LA") if image.mode == "La" else image
        rgba = rgba if rgba.mode == "RGBA" else rgba.convert("RGBA")
        white = Image.new("RGB", image.size, "white")
        white.paste(rgba, mask=rgba)
        return white
    return image if image.mode == "RGB" else image.convert("RGB")


def _deep_grey_to_rgb(name: str, image: Image.Image) -> Image.Image:
    parts = [(values.min(), values.max()) for _, values in _rows_of(image)]
    low, high = np.min([low for low, _ in parts]), np.max([high for _, high in parts])
    span, overshoot = 65535.0, 0.0
    if image.mode == "F":
        span = next((span for span in _FLOAT_SPANS if high <= (1 + _OVERSHOOT) * span), span)
        overshoot = _OVERSHOOT * span
    if not -overshoot <= low <= high <= 65535 + overshoot:
        raise ImageError(
            "unsupported",
            f"{name} has grey values from {low} to {high}, outside 0 to {span:.0f}; save it as 8 bit",
        )
    grey = np.empty((image.height, image.width), np.uint8)
    for first, values in _rows_of(image):
        part = grey[first : first + len(values)]
        if image.mode == "F":
            part[:] = np.rint(np.clip(values, 0, span) * (255.0 / span))
        else:
            part[:] = (values.astype(np.uint32) + 128) // 257
        if "transparency" in image.info:
            part[values == image.info["transparency"]] = 255
    return Image.fromarray(grey).convert("RGB")


def _rows_of(image: Image.Image) -> Iterator[tuple[int, NDArray[Any]]]:
    """Yield a few rows at a time, and which is the first of them: an array of all is another copy."""
    count = max(_PIXELS_AT_ONCE // image.width, 1)
    for first in range(0, image.height, count):
        part = image.crop((0, first, image.width, min(first + count, image.height)))
        yield first, np.asarray(part)


def _upright(image: Image.Image, exif_orientation: int) -> Image.Image:
    method = _UPRIGHT.get(exif_orientation)
    return image if method is None else image.transpose(method)
