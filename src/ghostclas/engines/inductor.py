"""AOTInductor: a ``.pt2`` program compiled for this processor, where PyTorch and a C++ compiler are."""

from __future__ import annotations

import os
import shutil
import stat
import sys
import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

from ghostclas.bundle import BundleFile
from ghostclas.cache import CACHE_VARIABLE, cache_directory
from ghostclas.engines.torch import TorchEngine
from ghostclas.errors import UsageError
from ghostclas.extras import require

_OTHERS_WRITE = stat.S_IWGRP | stat.S_IWOTH
OPTIONS = {
    # Threads are the process' own number when it runs, not that of the day it was compiled.
    "cpp.dynamic_threads": True,
}


class InductorEngine(TorchEngine):
    """A ``.pt2`` file, compiled once by AOTInductor. See ``ghostclas.engines.contract.Engine``.

    What is compiled is native code for one processor and one version of PyTorch. A bundle cannot carry it,
    since nothing in a bundle is executed: it is made here, of the checked program, and kept in
    ``ghostclas.cache.cache_directory()``, in a folder that nobody else can write to. The first start takes
    half a minute, the next ones do not.

    ``threads`` has no effect: torch has one number of threads for the whole process, the caller's to set.
    """

    name = "inductor"
    runtime = "AOTInductor"

    def _module(self, file: BundleFile, program: Any) -> Any:
        torch, inductor = self._torch, require("torch._inductor", extra="export")
        made_for = f"{torch.__version__} {torch.backends.cpu.get_cpu_capability()} {OPTIONS}"
        key = sha256(f"{file.entry.sha256} {made_for}".encode()).hexdigest()
        package = _private(cache_directory() / "inductor") / f"{key}.pt2"
        if not package.is_file():
            image = file.entry.input
            assert image is not None
            # Two photos, since what is seen at a size of one is compiled for that size alone.
            example = torch.zeros((2, image.size("H"), image.size("W"), 3), dtype=torch.uint8)
            program.example_inputs = ((example,), {})
            _compile(inductor, program, package)
        return inductor.aoti_load_package(str(package))


def _private(folder: Path) -> Path:
    """Return the folder, made if absent, after whatever others could have put there was removed from it.

    Raises:
        UsageError: it belongs to somebody else, is a link, or cannot be made.
    """
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
        if sys.platform == "win32":
            return folder
        status = folder.lstat()
        if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid():
            raise UsageError(
                f"{folder} is not yours, and what is compiled there would be run; remove it, or set "
                f"{CACHE_VARIABLE} to a folder of your own"
            )
        if status.st_mode & _OTHERS_WRITE:
            folder.chmod(0o700)
            for entry in folder.iterdir():
                shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    except OSError as error:
        raise UsageError(
            f"cannot keep a compiled program in {folder}: {error.strerror}; set {CACHE_VARIABLE} to a folder "
            "that can be written"
        ) from None
    return folder


def _compile(inductor: Any, program: Any, package: Path) -> None:
    """Write the compiled program, all of it or nothing; of two processes at once, the later one wins."""
    with tempfile.TemporaryDirectory(dir=package.parent, prefix=".making-") as folder:
        made = inductor.aoti_compile_and_package(
            program, package_path=str(Path(folder) / "made.pt2"), inductor_configs=OPTIONS
        )
        Path(made).replace(package)
