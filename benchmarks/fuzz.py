"""Damaged files by the thousand against every reader: each is read or refused, quickly and in little memory.

    python benchmarks/fuzz.py                               2,000 mutants of each format, as in ./check
    python benchmarks/fuzz.py --hours 1 --seed 7
    python benchmarks/fuzz.py --formats images,zip --mutants 100000 --output findings.txt
    python benchmarks/fuzz.py --replay png:1:417            that one again, with its traceback
    python benchmarks/fuzz.py --replay png:1:417 --keep .   and its file

Good files are made here, damaged at random from a fixed seed, and read in processes with limits. These are
findings: an exception that is not ``GhostclasError``, a crash, more than 2 CPU seconds or 600 MB, a message
of more than 2,000 characters, a line on stderr. Exit code 1 says that there were some. Linux only.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

# The package is found here, the tests' helpers, which make the good files, in the folder above.
sys.path[1:1] = [str(Path(__file__).parents[1])]

from fuzzing.campaign import BrokenTargetError, Report, run  # noqa: E402
from fuzzing.target import GROUPS, TARGETS  # noqa: E402


def _formats(text: str) -> list[str]:
    chosen: list[str] = []
    for word in text.split(","):
        names = GROUPS.get(word, (word,))
        unknown = [name for name in names if name not in TARGETS]
        if unknown:
            raise argparse.ArgumentTypeError(
                f"unknown {unknown[0]!r}; known: {', '.join([*GROUPS, *TARGETS])}"
            )
        chosen += names
    return list(dict.fromkeys(chosen))


def _parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    amount = parser.add_mutually_exclusive_group()
    amount.add_argument("--mutants", type=int, default=2000, help="of each format")
    amount.add_argument("--hours", type=float)
    parser.add_argument("--formats", type=_formats, default=list(TARGETS), help="separated by commas")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--jobs", type=int, help="processes at a time; one for each core when absent")
    parser.add_argument("--output", type=Path, help="a file for the findings and the table")
    parser.add_argument("--replay", metavar="FORMAT:SEED:NUMBER")
    parser.add_argument("--keep", type=Path, metavar="DIR", help="with --replay: put the file there, too")
    return parser.parse_args()


def _text(report: Report) -> str:
    rows = report.table()
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    table = ["  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)) for row in rows]
    total = sum(tally.mutants for tally in report.tallies.values())
    kinds = [f"{count:6}  {kind}" for kind, count in report.kinds()]
    summary = f"{total:,} mutants in {report.seconds:.0f} s, {len(report.findings)} findings"
    return "\n".join([*report.findings, "", *kinds, "", *map(str.rstrip, table), "", summary]) + "\n"


def _replay(name: str, keep: Path | None) -> int:
    """Read one mutant in this process and say what it did; a crash is a crash."""
    from fuzzing import worker

    format_name, seed, number = name.split(":")
    with tempfile.TemporaryDirectory() as folder:
        target, seeds, path = worker.prepared(format_name, Path(folder))
        data = target.mutant(seeds, format_name, int(seed), int(number))
        if keep:
            kept = keep / f"{format_name}-{seed}-{number}-{target.name}"
            kept.write_bytes(data)
            print(f"{len(data):,} bytes: {kept}")
        worker.limit_addresses()
        worker.limit_time()
        print(json.dumps(asdict(worker.attempt(target, data, int(number), path, explain=True)), indent=1))
    return 0


def main() -> int:
    """Do what the arguments ask for."""
    arguments = _parsed()
    if arguments.replay:
        return _replay(arguments.replay, arguments.keep)
    try:
        report = run(
            arguments.formats,
            arguments.seed,
            mutants=arguments.mutants,
            hours=arguments.hours,
            jobs=arguments.jobs,
            say=lambda line: print(line, flush=True),
        )
    except BrokenTargetError as error:
        print(f"fuzz: {error}", file=sys.stderr)
        return 2
    text = _text(report)
    if arguments.output:
        arguments.output.write_text(text, encoding="utf-8")
    print(text[text.index("\n\n") + 1 :], end="")
    return 1 if report.findings else 0


if __name__ == "__main__":
    sys.exit(main())
