"""Measurements of a new process from its start to the labels of photos, as a user waits for them.

    python -m ghostclas.bench.fresh '{"model": ..., "engine": ..., "precision": ..., "first": ...}'

is that process. It prints the label of the first photo at once, and finally one JSON object. Its imports at
the top are those of any program that labels a photo.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

from ghostclas.errors import GhostclasError


class Fresh(NamedTuple):
    """The cost of one process: seconds to its first label, then photos a second, and peak bytes.

    ``images_per_second`` is ``None`` if no folder was labelled, ``peak_memory`` if the system does not report
    it.
    """

    seconds: float
    images_per_second: float | None
    peak_memory: int | None


def run_fresh(
    model: str | Path, engine: str, precision: str, first: Path, folder: Path | None = None
) -> Fresh:
    """Start a process that labels the photo ``first``, then all of ``folder``, if given.

    Raises:
        GhostclasError: the process failed; the message has the process's own error.
    """
    job = {
        "model": str(model),
        "engine": engine,
        "precision": precision,
        "first": str(first),
        "folder": str(folder) if folder else None,
    }
    began = time.perf_counter()
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as said,
        subprocess.Popen(  # noqa: S603 - our own worker
            [sys.executable, "-P", "-m", __name__, json.dumps(job)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=said,
            text=True,
            encoding="utf-8",
            errors="replace",
        ) as process,
    ):
        assert process.stdout
        label = process.stdout.readline()
        seconds = time.perf_counter() - began
        # Not communicate: it would miss output that came together with the first line.
        rest = process.stdout.read()
        if process.wait() or not label:
            said.seek(0)
            # The last line that is not indented: details follow it.
            lines = [line for line in said.read().splitlines() if line[:1].strip()]
            reason = lines[-1] if lines else f"exit code {process.returncode}"
            raise GhostclasError(f"a fresh process with {engine} {precision} failed: {reason[:300]}")
    outcome = json.loads(rest.splitlines()[-1])
    return Fresh(seconds, outcome["images_per_second"], outcome["peak_memory"])


def main(argument: str) -> None:
    """Label the photos of the job, and print the measurement."""
    from ghostclas.prediction import Classifier

    job: dict[str, Any] = json.loads(argument)
    with Classifier.load(job["model"], engine=job["engine"], precision=job["precision"]) as classifier:
        prediction = classifier.predict(job["first"])[0]
        _say(prediction.top[0].label if prediction.top else "no label")
        rate = None
        if job["folder"]:
            from ghostclas.prediction import find_images

            began = time.perf_counter()
            labelled = sum(1 for _ in classifier.stream(find_images([job["folder"]])))
            rate = labelled / (time.perf_counter() - began)
        _say(json.dumps({"images_per_second": rate, "peak_memory": peak_memory()}))


def peak_memory() -> int | None:
    """Return the peak memory of this process in bytes, or ``None`` if the system does not report it."""
    try:
        # Not getrusage: on Linux its figure survives exec, so it may be that of the parent process.
        with Path("/proc/self/status").open(encoding="ascii", errors="replace") as status:
            return next(1024 * int(line.split()[1]) for line in status if line.startswith("VmHWM:"))
    except (OSError, StopIteration):
        pass
    if sys.platform != "darwin":
        return None
    import resource

    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss


def _say(line: str) -> None:
    sys.stdout.reconfigure(encoding="utf-8", errors="backslashreplace")  # type: ignore[union-attr]
    sys.stdout.write(line.replace("\n", " ") + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(sys.argv[1])
