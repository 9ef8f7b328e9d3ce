"""Coverage-guided fuzzing of the C++ readers, under AddressSanitizer and UndefinedBehaviorSanitizer.

    python benchmarks/fuzz_cpp.py                            a minute for each target
    python benchmarks/fuzz_cpp.py --seconds 600 --targets png,tiff --corpus corpus

It builds the preset ``fuzz`` (clang and its libFuzzer) and begins with good files that it makes. A target
stops at its first finding: a crash, an error of a sanitizer, more than 20 seconds or 3 GB. Exit code 1 says
that there were some; the file that shows one lies in the corpus.
"""

from __future__ import annotations

import argparse
import re
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]
# The package is found here, the tests' helpers, which make the good files, in the folder above.
sys.path[1:1] = [str(ROOT)]

from fuzzing import images  # noqa: E402

SEEDS = {
    "jpeg": images.JPEG,
    "png": images.PNG,
    "webp": images.WEBP,
    "gif": images.GIF,
    "bmp": images.BMP,
    "tiff": images.TIFF,
    "ppm": images.PPM,
    "avif": images.AVIF,
}
"""The targets that fuzz a decoder, with what makes good files for each."""

LONGEST = 20_000
"""The bytes of a file; longer ones are slow, and show nothing new."""


def build(targets: list[str]) -> Path:
    """Build the targets and return the folder that they are somewhere in."""
    names = [f"fuzz_{target}" for target in targets]
    for command in (
        ["cmake", "--preset", "fuzz"],
        ["cmake", "--build", "--preset", "fuzz", "--parallel", "2", "--target", *names],
    ):
        done = subprocess.run(
            command, cwd=ROOT / "cpp", capture_output=True, text=True, encoding="utf-8", check=False
        )
        if done.returncode:
            raise SystemExit(f"{' '.join(command)} failed:\n{done.stdout}{done.stderr}")
    return ROOT / "cpp" / "build" / "fuzz"


def fuzz(program: Path, target: str, corpus: Path, seconds: int) -> bool:
    """Run one target, print what came of it, and return whether there was no finding."""
    mine, seeds = corpus / target, corpus / f"{target}-seeds"
    for folder in (mine, seeds):
        folder.mkdir(parents=True, exist_ok=True)
    if target in SEEDS:
        for number, data in enumerate(SEEDS[target].seeds(seeds)):
            if len(data) <= LONGEST:
                (seeds / str(number)).write_bytes(data)
    limits = ["-rss_limit_mb=3000", "-timeout=20", f"-max_len={LONGEST}", f"-max_total_time={seconds}"]
    done = subprocess.run(
        [program, *limits, f"-artifact_prefix={corpus}/{target}-", mine, seeds],
        capture_output=True,
        text=True,
        encoding="utf-8",
        errors="replace",
        check=False,
    )
    runs = re.search(r"Done (\d+) runs", done.stderr)
    if done.returncode or runs is None:
        print(f"{target}: a finding\n{done.stderr[-4000:]}", flush=True)
        return False
    print(f"{target}: {int(runs[1]):,} files, {len(list(mine.iterdir())):,} kept, no finding", flush=True)
    return True


def main() -> int:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--targets", type=lambda text: text.split(","), default=list(SEEDS))
    parser.add_argument("--corpus", type=Path, default=ROOT / "cpp" / "build" / "corpus")
    options = parser.parse_args()
    folder = build(options.targets)
    programs = {target: next(folder.rglob(f"fuzz_{target}")) for target in options.targets}
    quiet = [fuzz(program, target, options.corpus, options.seconds) for target, program in programs.items()]
    return 0 if all(quiet) else 1


if __name__ == "__main__":
    sys.exit(main())
