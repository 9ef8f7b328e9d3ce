"""The contract of all engines, and the checks that they share."""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple, Protocol, TypeAlias

import numpy as np
from numpy.typing import NDArray

from ghostclas.bundle import BundleFile, FileEntry, Precision, TensorSpec, default_bundle_path
from ghostclas.engines.onnx_graph import check_graph
from ghostclas.errors import BundleError, GhostclasError, UsageError
from ghostclas.processor import usable_cores

UInt8NHWC: TypeAlias = NDArray[np.uint8]
Float32Logits: TypeAlias = NDArray[np.float32]


AFTER_FORK = (
    "open the engine or classifier after the fork, in each process (gunicorn: without --preload; "
    "multiprocessing: in the initializer, or with the start method 'spawn')"
)


class Engine(Protocol):
    """One file of a bundle, loaded into one runtime.

    Engines may be used from several threads at once. The same images give the same logits every time, alone
    or in any batch up to the runtime's rounding. An engine answers only in the process that opened it:
    runtimes compute in threads, and a fork has none of them.
    """

    name: str
    inference_precision: Precision | None
    """What the engine computes in, where that is not the precision of the file."""

    def run(self, images: UInt8NHWC) -> Float32Logits:
        """Return the logits of a batch.

        Args:
            images: uint8 ``[N, H, W, 3]`` RGB of the size that the bundle's preprocessing gives; N may be 0,
                and the array need not be contiguous.

        Returns:
            float32 ``[N, C]``, a new array that the caller may change.

        Raises:
            UsageError: the images are of another shape or type, or the engine is closed or was opened before
                a fork.
        """

    def close(self) -> None:
        """Free what the runtime holds. Further calls do nothing; ``run`` fails."""


class FeatureEngine(Engine, Protocol):
    """An engine that also gives the pooled features, of files that have them as an output."""

    def embed(self, images: UInt8NHWC) -> Float32Logits:
        """Return the pooled features of a batch, float32 ``[N, D]``, the caller's to keep.

        Args:
            images: as ``run`` takes them.

        Raises:
            UsageError: as ``run``.
            BundleError: the file has no such output.
        """


def check_images(images: UInt8NHWC, entry: FileEntry) -> UInt8NHWC:
    """Return the batch as a contiguous array.

    Raises:
        UsageError: it is not uint8 ``[N, H, W, 3]`` of the size that ``entry`` takes.
    """
    assert entry.input is not None
    height, width = entry.input.size("H"), entry.input.size("W")
    found = f"{getattr(images, 'dtype', type(images).__name__)} {list(getattr(images, 'shape', []))}"
    if not isinstance(images, np.ndarray) or images.dtype != np.uint8 or images.ndim != 4:
        raise UsageError(f"an engine takes uint8 [N, {height}, {width}, 3], got {found}")
    if images.shape[1:] != (height, width, 3):
        raise UsageError(
            f"this model takes uint8 [N, {height}, {width}, 3], got {found}; ghostclas.imaging.preprocess "
            "makes such images"
        )
    return np.ascontiguousarray(images)


def no_rows(output: TensorSpec) -> Float32Logits:
    """Return an output for no images, ``[0, C]``, since runtimes treat an empty batch differently."""
    return np.empty((0, output.size("C") or 0), np.float32)


def check_rows(
    rows: Float32Logits, count: int, output: TensorSpec, file: BundleFile, engine: str
) -> Float32Logits:
    """Return an output for ``count`` photos.

    Raises:
        BundleError: it is not ``[count, C]`` as the manifest says; some formats do not name their shapes.
    """
    wanted = (count, output.size("C"))
    if rows.shape != wanted:
        raise BundleError(
            f"{file.bundle.path}: {file.entry.path} in {engine} gives {list(rows.shape)} where the "
            f"manifest says {list(wanted)}; export it again"
        )
    return rows


def features_of(file: BundleFile) -> TensorSpec:
    """Return the output of a file that gives the pooled features.

    Raises:
        BundleError: it has none; the message says how to make one.
    """
    if file.entry.features is None:
        raise BundleError(
            f"{file.bundle.path}: {file.entry.path} has no features output; write a bundle that has it with: "
            f"ghostclas export --model {file.bundle.path} --output NEW"
        )
    return file.entry.features


def threads_per_batch(threads: int | None, concurrency: int) -> int | None:
    """Return how many threads compute one batch of ``concurrency`` at once; ``None`` for all there are."""
    return threads if concurrency == 1 else max(1, (threads or usable_cores()) // concurrency)


def closed(name: str) -> UsageError:
    """Return the error of running an engine that was closed."""
    return UsageError(f"this {name} engine is closed; open another with ghostclas.engines.open_engine")


def forked(name: str, opened_in: int) -> UsageError:
    """Return the error of running an engine in a fork of the process that opened it."""
    return UsageError(
        f"this {name} engine was opened in process {opened_in}, and its threads are not in process "
        f"{os.getpid()}, which was forked from it; {AFTER_FORK}"
    )


def read_onnx(file: BundleFile) -> bytes:
    """Return the verified content of an ONNX file that is one plain graph; see ``engines.onnx_graph``.

    Raises:
        BundleError: it does not verify, or it could make a runtime read something outside the bundle, or run
            without end.
    """
    content = file.read()
    if file.bundle.path == default_bundle_path():
        return content
    try:
        check_graph(content)
    except ValueError as error:
        raise BundleError(
            f"{file.bundle.path}: {file.entry.path} is refused and was not run: it holds {error}, which no "
            "export of a network needs; get the bundle from its maker again, or export it again"
        ) from None
    # A tensor kept elsewhere must say "location", and runtimes look for it from the current folder.
    if b"location" in content:
        raise BundleError(
            f"{file.bundle.path}: {file.entry.path} refers to data outside the file, which is refused; "
            "export it with its weights inside"
        )
    return content


def companion(file: BundleFile, suffix: str, other: str) -> Path:
    """Return where the file beside a graph is, verified: the same path, ending in ``other``.

    Raises:
        BundleError: the graph does not end in ``suffix``, or the manifest does not list the other file.
    """
    name = file.entry.path.removesuffix(suffix) + other
    listed = {entry.path for entry in file.bundle.manifest.files}
    if not file.entry.path.endswith(suffix) or name not in listed:
        raise BundleError(
            f"{file.bundle.path}: {file.entry.path} is no {suffix} with a {other} listed beside it; "
            "export it again"
        )
    return file.path.with_suffix(other)


class Port(NamedTuple):
    """An input or output as a runtime found it in a file; sizes that are not fixed are ``None``."""

    name: str
    dtype: str
    shape: Sequence[int | None]


def check_signature(file: BundleFile, engine: str, inputs: Sequence[Port], outputs: Sequence[Port]) -> None:
    """Refuse a file whose inputs and outputs are not those of the manifest, before anything is run.

    Raises:
        BundleError: saying what the file has and what the manifest says.
    """
    assert file.entry.input is not None
    for declared, found in (([file.entry.input], inputs), ([*file.entry.outputs.values()], outputs)):
        by_name = {port.name: port for port in found}
        same_number = len(by_name) == len(found) == len(declared)
        if not same_number or not all(
            port.name in by_name and _fits(by_name[port.name], port) for port in declared
        ):
            have = ", ".join(f"{port.name} {port.dtype} {list(port.shape)}" for port in found)
            wanted = ", ".join(f"{port.name} {port.dtype} {list(port.shape)}" for port in declared)
            raise BundleError(
                f"{file.bundle.path}: {file.entry.path} in {engine} has {have or 'nothing'} where the "
                f"manifest says {wanted}; export it again"
            )


def _fits(port: Port, declared: TensorSpec) -> bool:
    if (port.name, port.dtype, len(port.shape)) != (declared.name, declared.dtype, len(declared.shape)):
        return False
    # A batch of any length needs an open axis; an open axis serves any fixed size.
    return all(have is None or have == want for have, want in zip(port.shape, declared.shape, strict=True))


def loading_failed(file: BundleFile, engine: str, error: Exception) -> BundleError:
    """Return the error of a file that a runtime does not accept."""
    reason = " ".join(str(error).split())[:200] or type(error).__name__
    return BundleError(f"{file.bundle.path}: {engine} cannot load {file.entry.path}: {reason}")


@contextmanager
def running(file: BundleFile, engine: str) -> Iterator[None]:
    """Turn what a runtime raises on photos into a BundleError; our own errors pass."""
    try:
        yield
    except (GhostclasError, MemoryError):
        raise
    except Exception as error:  # the classes that runtimes raise are private and differ by version
        reason = " ".join(str(error).split())[:200] or type(error).__name__
        raise BundleError(f"{file.bundle.path}: {engine} cannot run {file.entry.path}: {reason}") from None
