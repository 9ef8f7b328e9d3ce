"""AOTInductor: a ``.pt2`` program compiled for this processor, where PyTorch and a C++ compiler are."""

from __future__ import annotations

import tempfile
from hashlib import sha256
from pathlib import Path
from typing import Any

from ghostclas.bundle import BundleFile
from ghostclas.download import cache_directory
from ghostclas.engines.torch import TorchEngine
from ghostclas.extras import require

OPTIONS = {
    # Threads are the process' own number when it runs, not that of the day it was compiled.
    "cpp.dynamic_threads": True,
}


class InductorEngine(TorchEngine):
    """A ``.pt2`` file, compiled once by AOTInductor. See ``ghostclas.engines.contract.Engine``.

    What is compiled is native code for one processor and one version of PyTorch. A bundle cannot carry it,
    since nothing in a bundle is executed: it is made here, of the checked program, and kept in
    ``ghostclas.download.cache_directory()``. The first start takes half a minute, the next ones do not.

    ``threads`` has no effect: torch has one number of threads for the whole process, the caller's to set.
    """

    name = "inductor"
    runtime = "AOTInductor"

    def _module(self, file: BundleFile, program: Any) -> Any:
        torch, inductor = self._torch, require("torch._inductor", extra="export")
        made_for = f"{torch.__version__} {torch.backends.cpu.get_cpu_capability()} {OPTIONS}"
        key = sha256(f"{file.entry.sha256} {made_for}".encode()).hexdigest()
        package = cache_directory() / "inductor" / f"{key}.pt2"
        if not package.is_file():
            image = file.entry.input
            assert image is not None
            # Two photos, since what is seen at a size of one is compiled for that size alone.
            example = torch.zeros((2, image.size("H"), image.size("W"), 3), dtype=torch.uint8)
            program.example_inputs = ((example,), {})
            _compile(inductor, program, package)
        return inductor.aoti_load_package(str(package))


def _compile(inductor: Any, program: Any, package: Path) -> None:
    """Write the compiled program, all of it or nothing; of two processes at once, the later one wins."""
    package.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=package.parent, prefix=".making-") as folder:
        made = inductor.aoti_compile_and_package(
            program, package_path=str(Path(folder) / "made.pt2"), inductor_configs=OPTIONS
        )
        Path(made).replace(package)
