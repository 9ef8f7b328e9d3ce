"""What every runtime promises, the table of runtimes, and how one is chosen."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from typing import Any, NamedTuple, Protocol, TypeAlias, cast, get_args

import numpy as np
from numpy.typing import NDArray

from ghostclas.bundle import Bundle, BundleFile, FileEntry, Precision, TensorSpec
from ghostclas.errors import BundleError, GhostclasError, UsageError, did_you_mean

UInt8NHWC: TypeAlias = NDArray[np.uint8]
Float32Logits: TypeAlias = NDArray[np.float32]


class Engine(Protocol):
    """One file of a bundle, loaded into one runtime.

    Engines may be used from several threads at once. The same images give the same logits every time, alone
    or in any batch up to the runtime's rounding.
    """

    name: str

    def run(self, images: UInt8NHWC) -> Float32Logits:
        """Return the logits of a batch.

        Args:
            images: uint8 ``[N, H, W, 3]`` RGB of the size that the bundle's preprocessing gives; N may be 0,
                and the array need not be contiguous.

        Returns:
            float32 ``[N, C]``, the caller's to keep and to change.

        Raises:
            UsageError: the images are of another shape or type, or the engine is closed.
        """

    def close(self) -> None:
        """Free what the runtime holds. Further calls do nothing; ``run`` fails."""


class Runtime(NamedTuple):
    """A row of the table: the class, the package it needs, the extra that installs it, what it reads.

    The class is called with the file and ``threads``. ``formats`` come best first. One that is ``concurrent``
    computes batches of several threads side by side and takes ``callers``, how many these are; in the others
    they take turns. ``arithmetic`` lists in what it can compute a floating-point file besides the file's own
    precision, where the processor can: the class takes that as ``arithmetic``, its ``computes`` tells whether
    it can, and its ``gains`` whether that is faster here.
    One of ``programs`` must be there, too, if any is named.
    """

    implementation: str
    package: str
    formats: Sequence[str]
    extra: str | None = None
    concurrent: bool = False
    own_threads: bool = False
    arithmetic: Sequence[Precision] = ()
    programs: Sequence[str] = ()


ENGINES: Mapping[str, Runtime] = {
    "onnxruntime": Runtime(
        "ghostclas.engines.onnxruntime:OnnxRuntimeEngine", "onnxruntime", ("onnx",), concurrent=True
    ),
    "openvino": Runtime(
        "ghostclas.engines.openvino:OpenVINOEngine",
        "openvino",
        ("openvino", "onnx"),
        extra="openvino",
        concurrent=True,
        own_threads=True,
        arithmetic=("bf16",),
    ),
    "ncnn": Runtime("ghostclas.engines.ncnn:NcnnEngine", "ncnn", ("ncnn",), extra="ncnn", concurrent=True),
    "mnn": Runtime("ghostclas.engines.mnn:MnnEngine", "MNN", ("mnn",), extra="mnn"),
    "litert": Runtime("ghostclas.engines.litert:LiteRTEngine", "ai_edge_litert", ("litert",), extra="litert"),
    "executorch": Runtime(
        "ghostclas.engines.executorch:ExecuTorchEngine",
        "executorch",
        ("executorch",),
        extra="executorch",
    ),
    "torch": Runtime("ghostclas.engines.torch:TorchEngine", "torch", ("torch",), extra="export"),
    "inductor": Runtime(
        "ghostclas.engines.inductor:InductorEngine",
        "torch",
        ("torch",),
        extra="export",
        programs=("g++", "clang++"),
    ),
    "tensorrt": Runtime("ghostclas.engines.tensorrt:TensorRTEngine", "tensorrt", ("onnx",), extra="tensorrt"),
}
"""``auto`` looks in this order, after what is faster in another precision."""

FLOATS: Sequence[Precision] = ("fp32", "fp16")
"""What is computed in float32 unless something else is asked for; the first is the most precise."""


class Choice(NamedTuple):
    """An engine, the file it opens, and what it computes in where that is not the file's precision."""

    engine: str
    file: BundleFile
    arithmetic: Precision | None = None


def installed_engines() -> list[str]:
    """Return the engines whose package is installed, in the order of the table; imports none of them."""
    return [
        name
        for name, runtime in ENGINES.items()
        if _is_installed(runtime.package) and (not runtime.programs or _is_there(runtime.programs))
    ]


def _is_there(programs: Sequence[str]) -> bool:
    from shutil import which

    return any(map(which, programs))


def _is_installed(package: str) -> bool:
    spec = find_spec(package)
    if spec is None or spec.origin is not None:
        return spec is not None
    # A namespace: one that was installed, or a folder of that name that lies around, such as a bundle's own.
    from importlib import metadata

    try:
        metadata.version(package)
    except metadata.PackageNotFoundError:
        return False
    return True


def open_engine(
    name: str,
    bundle: Bundle,
    *,
    threads: int | None = None,
    precision: str | None = None,
    callers: int = 1,
    brief: bool = False,
) -> Engine:
    """Load the bundle into an engine.

    Args:
        name: a key of ``ENGINES``, or ``"auto"``: of what is installed, and whose answers on one of the
            bundle's fp32 or fp16 files were compared with the reference and were right, as the manifest's
            ``parity`` says, what computes in bf16 if the processor is faster in it, else the first of the
            table. Where nothing was compared, the engine of the default file.
        bundle: an open bundle.
        threads: how many threads compute at once; ``None`` for what the runtime finds best on the cores that
            this process may use.
        precision: of the file; the bundle's first that fits when absent. ``auto`` takes int8 only when asked.
            Where there is no such file, of the arithmetic, if a runtime can compute in it.
        callers: how many threads will call ``run`` at once. A runtime that can shares ``threads`` out among
            them, so that each batch is computed by fewer threads and more of them side by side.
        brief: a few photos only, so that starting takes longer than running: ``auto`` then computes in the
            file's precision, in the engine that starts fastest.

    Raises:
        UsageError: there is no such engine or precision, or ``threads`` is not positive.
        BundleError: the bundle has no file that the engine reads, or it does not verify or load.
        MissingExtraError: the engine's package is not installed.
    """
    if precision is not None and precision not in get_args(Precision):
        near = (
            did_you_mean(precision, get_args(Precision)) or f"; there are: {', '.join(get_args(Precision))}"
        )
        raise UsageError(f"there is no precision {precision!r}{near}")
    wanted = cast("Precision | None", precision)
    choice = _automatic(bundle, wanted, brief=brief) if name == "auto" else _readable(name, bundle, wanted)
    return load_file(
        choice.engine, choice.file, threads=threads, arithmetic=choice.arithmetic, callers=callers
    )


def load_file(
    name: str,
    file: BundleFile,
    *,
    threads: int | None = None,
    arithmetic: Precision | None = None,
    callers: int = 1,
) -> Engine:
    """Load this one file of a bundle into the engine ``name``; see ``open_engine``.

    Raises:
        UsageError: the runtime or the processor cannot compute in ``arithmetic``.
    """
    for number, what in ((threads, "threads"), (callers, "callers")):
        if number is not None and number < 1:
            raise UsageError(f"{what} must be at least 1, got {number}")
    row = _row(name)
    options: dict[str, Any] = {"callers": callers} if row.concurrent else {}
    if arithmetic is not None:
        if not computes(name, arithmetic):
            raise UsageError(f"{name} does not compute in {arithmetic} on this processor; leave it out")
        options["arithmetic"] = arithmetic
    return cast(Engine, _implementation(row)(file, threads=threads, **options))


def computes(name: str, arithmetic: Precision) -> bool:
    """Return whether the installed engine ``name`` computes floating-point files in ``arithmetic`` here."""
    row = _row(name)
    return arithmetic in row.arithmetic and bool(_implementation(row).computes(arithmetic))


def gains(name: str, arithmetic: Precision) -> bool:
    """Return whether ``name`` computes in ``arithmetic`` here, known to be faster than in float32."""
    return computes(name, arithmetic) and bool(_implementation(_row(name)).gains(arithmetic))


def arithmetics(name: str, file: BundleFile) -> list[Precision | None]:
    """Return in what the installed engine ``name`` can compute this file here; ``None`` is its precision."""
    if file.entry.precision not in FLOATS:
        return [None]
    return [None, *(other for other in _row(name).arithmetic if computes(name, other))]


def callers_per_core(name: str) -> int:
    """Return how many threads that prepare batches and call ``run`` keep a core busy.

    Where the runtime computes in threads of its own, a second caller prepares its batch while the first
    waits; in ONNX Runtime, which has none, two callers a core were no faster than one.
    """
    return 2 if _row(name).own_threads else 1


def threads_each(threads: int | None, callers: int) -> int | None:
    """Return how many threads compute one batch where ``callers`` run at once; ``None`` for all there are."""
    return threads if callers == 1 else max(1, (threads or usable_cores()) // callers)


def _implementation(row: Runtime) -> Any:
    module, _, attribute = row.implementation.partition(":")
    return getattr(import_module(module), attribute)


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


def no_logits(entry: FileEntry) -> Float32Logits:
    """Return the logits of no images, ``[0, C]``; runtimes do not agree on what an empty batch means."""
    assert entry.output is not None
    return np.empty((0, entry.output.size("C") or 0), np.float32)


def check_logits(logits: Float32Logits, count: int, file: BundleFile, engine: str) -> Float32Logits:
    """Return the logits of ``count`` photos.

    Raises:
        BundleError: they are not ``[count, C]`` as the manifest says; some formats do not name their shapes.
    """
    assert file.entry.output is not None
    wanted = (count, file.entry.output.size("C"))
    if logits.shape != wanted:
        raise BundleError(
            f"{file.bundle.path}: {file.entry.path} in {engine} gives {list(logits.shape)} where the "
            f"manifest says {list(wanted)}; export it again"
        )
    return logits


def one_by_one(
    logits: Callable[[UInt8NHWC], Float32Logits], batch: UInt8NHWC, file: BundleFile, engine: str
) -> Float32Logits:
    """Return the logits of a batch from a function that takes one photo, ``[1, H, W, 3]``."""
    if len(batch) == 0:
        return no_logits(file.entry)
    rows = [check_logits(logits(batch[i : i + 1]), 1, file, engine) for i in range(len(batch))]
    return np.concatenate(rows)


def usable_cores() -> int:
    """Return on how many cores this process may run."""
    usable = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return usable or 1


def closed(name: str) -> UsageError:
    """Return the error of running an engine that was closed."""
    return UsageError(f"this {name} engine is closed; open another with ghostclas.engines.open_engine")


def read_onnx(file: BundleFile) -> bytes:
    """Return the verified content of an ONNX file that refers to no other file.

    Raises:
        BundleError: it does not verify, or it could make a runtime read something outside the bundle.
    """
    content = file.read()
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
    for declared, found in ((file.entry.input, inputs), (file.entry.output, outputs)):
        assert declared is not None
        if len(found) != 1 or not _fits(found[0], declared):
            have = ", ".join(f"{port.name} {port.dtype} {list(port.shape)}" for port in found)
            raise BundleError(
                f"{file.bundle.path}: {file.entry.path} in {engine} has {have or 'nothing'} where the "
                f"manifest says {declared.name} {declared.dtype} {list(declared.shape)}; export it again"
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


def _row(name: str) -> Runtime:
    if name not in ENGINES:
        near = did_you_mean(name, ENGINES) or f"; there are: auto, {', '.join(ENGINES)}"
        raise UsageError(f"there is no engine {name!r}{near}")
    return ENGINES[name]


def _automatic(bundle: Bundle, precision: Precision | None, *, brief: bool) -> Choice:
    """Choose what is fastest among what was compared, else what reads the default file."""
    installed = installed_engines()
    runnable = [entry for entry in bundle.manifest.files if entry.input is not None]
    if precision is not None and all(entry.precision != precision for entry in runnable):
        able = [name for name in ENGINES if precision in ENGINES[name].arithmetic]
        for name in sorted(able, key=lambda name: name not in installed):
            return _readable(name, bundle, precision)
    entries = {entry.path: entry for entry in runnable if precision in (None, entry.precision)}
    default = next(iter(entries.values()), None)
    compared = {
        (result.engine, result.file, result.arithmetic): result.ok for result in bundle.manifest.parity
    }
    floats = (precision,) if precision else FLOATS
    files = [
        (name, entry)
        for name in installed
        for known in ENGINES[name].formats
        for entry in entries.values()
        if entry.format == known and entry.precision in floats
    ]
    for name, entry in files if precision is None and not brief else ():
        for arithmetic in ENGINES[name].arithmetic:
            if compared.get((name, entry.path, arithmetic)) and gains(name, arithmetic):
                return Choice(name, BundleFile(bundle, entry), arithmetic)
    for name, entry in files:
        if compared.get((name, entry.path, None)):
            return Choice(name, BundleFile(bundle, entry))
    for name in installed:
        if default is None or compared.get((name, default.path, None)) is False:
            continue
        if default.format in ENGINES[name].formats:
            return Choice(name, BundleFile(bundle, default))
    formats = sorted({entry.format for entry in entries.values()})
    raise BundleError(
        f"{bundle.path}: no installed engine reads a file of this bundle "
        f"(files: {', '.join(formats) or 'none'}; engines: {', '.join(installed)})"
    )


def _readable(name: str, bundle: Bundle, precision: Precision | None) -> Choice:
    row = _row(name)

    def first(wanted: Sequence[Precision]) -> BundleFile | None:
        for kind in wanted:
            for known in row.formats:
                for entry in bundle.manifest.files:
                    if entry.input is not None and (entry.format, entry.precision) == (known, kind):
                        return BundleFile(bundle, entry)
        return None

    if file := first(get_args(Precision) if precision is None else (precision,)):
        return Choice(name, file)
    if precision in row.arithmetic and (file := first(FLOATS)):
        return Choice(name, file, precision)
    return Choice(name, bundle.file(row.formats[-1], precision))
