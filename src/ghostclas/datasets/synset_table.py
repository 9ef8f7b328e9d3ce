"""The table of synsets in ``meta.mat``, read in a process of its own.

scipy reads such files, and a damaged one can end its process or take all memory. So ``read_synsets`` gives
the content to another process, and takes plain JSON from it.
"""

from __future__ import annotations

import io
import json
import subprocess
import sys
from contextlib import suppress

from ghostclas.errors import DataError
from ghostclas.extras import require

SECONDS = 60
"""For how long a process may read; the real table takes one second."""

_ADDRESS_BYTES = 8 << 30


def read_synsets(content: bytes, location: str) -> list[tuple[int, str, str]]:
    """Return number, WordNet id and words of every synset without children.

    Raises:
        DataError: this is no such table.
        MissingExtraError: scipy is not installed.
    """
    require("scipy.io", extra="bigdata")
    try:
        done = subprocess.run(  # noqa: S603 - our own worker
            [sys.executable, "-P", "-m", __name__],
            input=content,
            capture_output=True,
            timeout=SECONDS,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise DataError(f"{location} is no table of synsets: reading it takes over {SECONDS} s") from None
    if done.returncode != 0:
        said = done.stderr.decode("utf-8", "replace").strip().splitlines()
        why = said[-1][:200] if said else f"it ends scipy's process (exit code {done.returncode})"
        raise DataError(f"{location} is no table of synsets: {why}")
    return [(int(number), str(wnid), str(words)) for number, wnid, words in json.loads(done.stdout)]


def _rows(content: bytes) -> list[tuple[int, str, str]]:
    from scipy.io import loadmat

    synsets = loadmat(io.BytesIO(content), squeeze_me=True)["synsets"].reshape(-1)
    return [
        (int(row["ILSVRC2012_ID"]), str(row["WNID"]), str(row["words"]))
        for row in synsets
        if int(row["num_children"]) == 0
    ]


def _limit_memory() -> None:
    if sys.platform != "win32":
        import resource

        _, most = resource.getrlimit(resource.RLIMIT_AS)
        allowed = _ADDRESS_BYTES if most == resource.RLIM_INFINITY else min(most, _ADDRESS_BYTES)
        # macOS may refuse this limit.
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_AS, (allowed, most))


def main() -> None:
    """Print the rows of the table on stdin as JSON."""
    content = sys.stdin.buffer.read()
    _limit_memory()
    sys.stdout.write(json.dumps(_rows(content)))


if __name__ == "__main__":
    main()
