"""Training throughput of GhostNet x1.0 in ghostclas, timm and PaddleClas, interleaved on one machine.

    python benchmarks/training_throughput.py [--rounds 7] [--paddle .venvs/paddle/bin/python]

Each contestant is a process of its own that waits while another is measured. A round measures all of them
once, so that a disturbance affects all. All use huge pages for glibc's memory, as docs/training.md advises.
Prints and writes results/training_throughput.md. Only time is measured: the images are noise, and the loss
has no meaning.
"""

from __future__ import annotations

import argparse
import os
import platform
import statistics
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

HERE = Path(__file__).parent
NAMES = {
    "ghostclas-bf16": "ghostclas, torch.compile, channels_last, `loop.precision=bf16`",
    "ghostclas": "ghostclas, torch.compile, channels_last, fp32",
    "timm": "timm `ghostnet_100`, eager, channels_last, fp32",
    "paddle": "PaddleClas `GhostNet_x1_0`, PaddlePaddle, fp32",
}
HUGE_PAGES = "glibc.malloc.hugetlb=1"
IMAGES_A_ROUND = {"ghostclas-bf16": 320, "ghostclas": 320, "timm": 320, "paddle": 96}


class Side:
    """One contestant's process."""

    def __init__(self, name: str, python: str, threads: int, batch: int, resolution: int) -> None:
        self.name, self.batch = name, batch
        self.rates: list[float] = []
        command = [python, str(HERE / "training_side.py"), name, str(threads), str(batch), str(resolution)]
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": str(threads), "GLIBC_TUNABLES": HUGE_PAGES},
        )
        while (line := self._read()) != "ready":
            print(f"  {name}: {line}", file=sys.stderr)

    def measure(self) -> None:
        """Train for one round and keep the images per second."""
        steps = max(1, IMAGES_A_ROUND[self.name] // self.batch)
        assert self.process.stdin
        self.process.stdin.write(f"{steps}\n")
        self.process.stdin.flush()
        self.rates.append(steps * self.batch / float(self._read()))

    def close(self) -> None:
        self.process.kill()
        self.process.wait()

    def _read(self) -> str:
        assert self.process.stdout
        line = self.process.stdout.readline()
        if not line:
            raise SystemExit(f"{self.name} stopped; its message is above")
        return line.strip()


def _ratio(side: Side, other: Side) -> float:
    return statistics.median(mine / theirs for mine, theirs in zip(side.rates, other.rates, strict=True))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--batch", type=int, default=32)
    parser.add_argument("--resolution", type=int, default=224)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--paddle", default=".venvs/paddle/bin/python")
    arguments = parser.parse_args()
    sides = [
        Side(
            name,
            arguments.paddle if name == "paddle" else sys.executable,
            arguments.threads,
            arguments.batch,
            arguments.resolution,
        )
        for name in NAMES
    ]
    try:
        for number in range(arguments.rounds):
            for side in sides:
                side.measure()
            shown = ", ".join(f"{side.name} {side.rates[-1]:.1f}" for side in sides)
            print(f"round {number + 1}: {shown} images a second", file=sys.stderr)
    finally:
        for side in sides:
            side.close()

    paddle = subprocess.run(
        [arguments.paddle, "-c", "import importlib.metadata as m; print(m.version('paddlepaddle'))"],
        capture_output=True,
        text=True,
        check=True,
    ).stdout.strip()
    lines = [
        "# Training throughput",
        "",
        f"GhostNet x1.0, {arguments.resolution} x {arguments.resolution}, batch {arguments.batch}, "
        f"synthetic images, {arguments.threads} threads; median of {arguments.rounds} interleaved rounds "
        "(smallest to largest).",
        "",
        f"torch {version('torch')}, timm {version('timm')}, paddlepaddle {paddle}; "
        f"{os.cpu_count()} CPU cores, {platform.system()} {platform.machine()}, GLIBC_TUNABLES={HUGE_PAGES}.",
        "",
        "| | images a second | ours in bf16 is faster by | ours in fp32 |",
        "| --- | --- | --- | --- |",
    ]
    ours = [side for side in sides if side.name.startswith("ghostclas")]
    for side in sides:
        faster = [f"{_ratio(own, side):.2f} times" if own is not side else "" for own in ours]
        spread = f"{min(side.rates):.1f} to {max(side.rates):.1f}"
        rate = f"{statistics.median(side.rates):.1f} ({spread})"
        lines.append(f"| {NAMES[side.name]} | {rate} | {' | '.join(faster)} |")
    lines += ["", "`python benchmarks/training_throughput.py` repeats it.", ""]
    text = "\n".join(lines)
    print(text)
    (HERE / "results").mkdir(exist_ok=True)
    (HERE / "results" / "training_throughput.md").write_text(text)


if __name__ == "__main__":
    main()
