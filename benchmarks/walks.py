"""The number of modules and rooms in four jobs: a photo, a labelled folder, SSLD, a new format.

    python benchmarks/walks.py [--source PATH/TO/src] [--modules]

Each job is a command that runs on small drawn photos. A module counts if one of its functions ran, in the
command's own process or in one that it started; importing a module is not enough. A room is a module or a
package directly under ``ghostclas``. ``--source`` measures another checkout, for a comparison. Needs Python
3.12 or newer, whose ``sys.monitoring`` reports the first call of a function at no cost to the later ones.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from PIL import Image

ROOT = Path(__file__).parents[1]

# Every Python process of a job imports this at its start.
TRACER = """
import atexit, os, sys

_codes = set()
_monitoring = sys.monitoring

def _saw(code, offset):
    if code.co_flags & 1:  # optimized: a function, not the body of a class or module, which importing runs
        _codes.add(code)
    return _monitoring.DISABLE

def _write():
    here = os.path.realpath(os.environ["WALK_SOURCE"]) + os.sep
    seen = {
        os.path.realpath(code.co_filename)[len(here):]
        for code in list(_codes)
        if code.co_filename.endswith(".py") and os.path.realpath(code.co_filename).startswith(here)
    }
    with open(os.path.join(os.environ["WALK_SEEN"], str(os.getpid())), "w", encoding="utf-8") as file:
        file.write("\\n".join(sorted(seen)))

atexit.register(_write)
_monitoring.use_tool_id(_monitoring.COVERAGE_ID, "walks")
_monitoring.register_callback(_monitoring.COVERAGE_ID, _monitoring.events.PY_START, _saw)
_monitoring.set_events(_monitoring.COVERAGE_ID, _monitoring.events.PY_START)
"""

SMALL = (
    "model.name=ghostnet_x0_2",
    "data.resolution=32",
    "data.workers=0",
    "schedule.epochs=2",
    "schedule.warmup_epochs=1",
    "optimizer.lr=0.01",
    "optimizer.lr_batch=null",
    "loop.batch_size=12",
    "loop.device=cpu",
)


def draw_photos(folder: Path, *, each: int, seed: int) -> None:
    """Write noisy photos of three colours, one class folder a colour."""
    draw = np.random.default_rng(seed)
    for index, name in enumerate(("red", "green", "blue")):
        (folder / name).mkdir(parents=True)
        for number in range(each):
            pixels = draw.uniform(0, 60, (48, 48, 3))
            pixels[..., index] += 160
            Image.fromarray(pixels.astype(np.uint8)).save(folder / name / f"{number}.png")


def walk(source: Path, work: Path, name: str, words: Sequence[str]) -> set[str]:
    """Run ``ghostclas WORDS`` and return the modules under ``ghostclas`` whose functions ran."""
    tracer, seen = work / "tracer", work / f"seen-{name.split()[-1]}"
    tracer.mkdir(exist_ok=True)
    (tracer / "sitecustomize.py").write_text(TRACER, encoding="utf-8")
    seen.mkdir()
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join((str(tracer), str(source))),
        "WALK_SOURCE": str(source / "ghostclas"),
        "WALK_SEEN": str(seen),
    }
    command = [sys.executable, "-m", "ghostclas", *words]
    done = subprocess.run(command, env=environment, cwd=work, capture_output=True, text=True)
    if done.returncode:
        raise SystemExit(f"ghostclas {' '.join(words)} ended with {done.returncode}:\n{done.stderr}")
    files = {line for path in seen.iterdir() for line in path.read_text(encoding="utf-8").split()}
    return {file.removesuffix(".py") for file in files}


def walks(source: Path, work: Path) -> dict[str, set[str]]:
    """Return the modules of the four jobs."""
    for number, folder in enumerate(("photos/train", "photos/val", "pool")):
        draw_photos(work / folder, each=12, seed=number)
    photo = str(work / "photos" / "val" / "red" / "0.png")
    settings = [word for setting in SMALL for word in ("--set", setting)]
    train = ["train", "--data", "photos", *settings, "--output", "run"]
    ssld = ["ssld", "--teacher", "run", "--labeled", "photos", "--unlabeled", "pool", *settings]
    ssld += ["--set", "distil.mine.neighbours=2", "--cache", "cache", "--output", "student"]
    jobs = {
        "a photo": ["predict", photo, "--json"],
        "a labelled folder": train,
        "an SSLD run": ssld,
        "a new format": ["export", "--model", "run", "--format", "openvino"],
    }
    return {name: walk(source, work, name, words) for name, words in jobs.items()}


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--source", type=Path, default=ROOT / "src", help="the src folder of a checkout")
    parser.add_argument("--modules", action="store_true", help="list the modules, too")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as work:
        found = walks(options.source.resolve(), Path(work).resolve())
    print("| job | modules | rooms |")
    print("| --- | --- | --- |")
    for name, modules in found.items():
        rooms = {module.split("/")[0] for module in modules}
        print(f"| {name} | {len(modules)} | {len(rooms)} |")
    if options.modules:
        for name, modules in found.items():
            print(f"\n{name}: {', '.join(sorted(modules))}")


if __name__ == "__main__":
    main()
