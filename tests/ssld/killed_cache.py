"""Writes two shards into a cache and is killed while the second one is half on the disk.

python killed_cache.py FOLDER
"""

from __future__ import annotations

import os
import signal
import sys
from pathlib import Path

from ghostclas import files
from tests.ssld.caches import opened, rows


def main(folder: str) -> None:
    cache = opened(Path(folder))
    cache.append(*rows(5))
    written = files.flush

    def killed(path: Path) -> None:
        path.write_bytes(path.read_bytes()[:100])
        written(path)
        os.kill(os.getpid(), signal.SIGKILL)

    files.flush = killed
    cache.append(*rows(5, seed=1))


if __name__ == "__main__":
    main(sys.argv[1])
