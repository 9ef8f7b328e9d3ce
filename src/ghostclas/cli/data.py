"""``ghostclas data``: prepare data sets and audit them."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ghostclas.cli.console import print_next, say, say_json, table
from ghostclas.errors import UsageError, did_you_mean
from ghostclas.progress import console_progress
from ghostclas.terminal import counted, printable

if TYPE_CHECKING:
    from ghostclas.datasets.audit import Audit, Group

SHOWN = 10
SHOWN_FILES = 4
AUDIT_FAILED = 3

app = typer.Typer(
    add_completion=False, rich_markup_mode=None, context_settings={"help_option_names": ["-h", "--help"]}
)


@app.callback()
def data() -> None:
    """Prepare a data set from its archives, or audit one."""


@app.command("prepare")
def prepare_command(
    dataset: Annotated[str, typer.Argument(metavar="imagenet", help="ILSVRC2012, also called ImageNet-1k.")],
    train_tar: Annotated[Path, typer.Option(help="ILSVRC2012_img_train.tar")],
    val_tar: Annotated[Path, typer.Option(help="ILSVRC2012_img_val.tar")],
    devkit: Annotated[Path, typer.Option(help="ILSVRC2012_devkit_t12.tar.gz")],
    output: Annotated[Path, typer.Option(metavar="DIR", help="The directory to write; created if absent.")],
    layout: Annotated[str, typer.Option("--format", help="folder, list (PaddleClas) or shards.")] = "folder",
    expect: Annotated[
        str | None, typer.Option(metavar="train=N,val=N,classes=N", help="The counts of a subset.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print the result as one JSON object.")] = False,
) -> None:
    """Unpack ImageNet's archives into a data set.

    Every image is counted. After a stop, the same command continues.
    """
    from ghostclas.datasets.imagenet import LAYOUTS, Expected, prepare_imagenet

    if dataset != "imagenet":
        raise UsageError(f"there is no data set {dataset!r} to prepare, only 'imagenet'")
    chosen = next((known for known in LAYOUTS if known == layout), None)
    if chosen is None:
        raise UsageError(
            f"--format is one of {', '.join(LAYOUTS)}, not {layout!r}{did_you_mean(layout, LAYOUTS)}"
        )
    done = prepare_imagenet(
        train_tar,
        val_tar,
        devkit,
        output,
        layout=chosen,
        expect=Expected.parse(expect) if expect else None,
        progress=console_progress(),
    )
    if as_json:
        say_json(done.to_json())
    else:
        say(
            f"{done.output}: {done.train:,} training and {done.val:,} validation images "
            f"of {done.classes:,} classes"
        )
    print_next("ghostclas", "train", "--data", str(done.output))


@app.command("audit")
def audit_command(
    folder: Annotated[Path, typer.Argument(metavar="DATA", help="A folder, .zip, list, shards or Parquet.")],
    root: Annotated[
        Path | None, typer.Option(metavar="DIR", help="The directory of relative paths in a list.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Write the page index.html there.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print every finding as one JSON object.")] = False,
    threads: Annotated[int | None, typer.Option(min=1, help="The number of cores; all when absent.")] = None,
) -> None:
    """Look for unreadable files, duplicates, leaks and imbalance.

    A leak is an image that is in two splits, such as train and val. The exit code is 0 if there are
    neither leaks nor unreadable files, else 3.
    """
    from ghostclas.datasets.audit import audit
    from ghostclas.files import check_folder

    if report:
        check_folder(report, option="--report")
    found = audit(folder, root=root, threads=threads, progress=console_progress())
    if as_json:
        say_json(found.to_json())
    else:
        say(_findings(found))
    if report:
        from ghostclas.datasets.audit_page import write_page

        print_next(str(write_page(found, report)), why="open")
    else:
        print_next("ghostclas", "data", "audit", str(folder), "--report", "audit", why="to see the images")
    if not found.clean:
        raise typer.Exit(AUDIT_FAILED)


def _findings(found: Audit) -> str:
    images = sum(split.images for split in found.splits)
    lines = [f"{printable(found.location)}: {images:,} images", ""]
    rows = []
    for split in found.splits:
        counts = sorted(split.classes.values()) or [0]
        low, middle, high = split.short_side
        rows.append(
            (
                split.name or "all",
                f"{split.images:,}",
                f"{len(split.classes):,}",
                f"{counts[0]:,} to {counts[-1]:,}",
                f"{low} / {middle} / {high} px",
                ", ".join(f"{name} {count:,}" for name, count in split.formats.items()),
            )
        )
    header = ("split", "images", "classes", "images a class", "short side least/median/most", "formats")
    lines += [table(header, rows, right=(1, 2)), ""]
    for split in found.splits:
        if split.missing:
            lines += _list(f"classes without an image in {split.name or 'it'}", map(repr, split.missing))
    lines += _list(
        "classes under a fifth of the median class; --set data.balance=sampler draws them as often as others",
        (f"{one.label}: {one.images:,} of a median of {one.median:,.0f} images" for one in found.scarce),
    )
    lines += _list(
        "leaks: the same image in several splits",
        map(_equal, found.leaks),
    )
    lines += _list(
        "conflicts: the same image in several classes",
        (_equal(group) for group in found.conflicts if not group.leak),
    )
    lines += _list(
        "duplicates within a split",
        (_equal(group) for group in found.groups if not group.leak and not group.conflict),
    )
    lines += _list(
        "unreadable", (f"{item.file.name}: {item.code}: {item.message}" for item in found.unreadable)
    )
    lines += _list("notes", found.notes)
    lines += _list("odd", (f"{item.file.name} {item.message}" for item in found.odd))
    verdict = "no leaks, and every file can be read"
    if not found.clean:
        unreadable = counted(len(found.unreadable), "file")
        verdict = f"{counted(found.leaked, 'image')} in two splits, {unreadable} unreadable"
    return "\n".join([*lines, verdict])


def _equal(group: Group) -> str:
    names = [f"{file.name} ({file.label})" for file in group.files[:SHOWN_FILES]]
    more = len(group.files) - len(names)
    return " = ".join(names) + (f" and {more:,} more" if more else "")


def _list(title: str, items: Iterable[str]) -> list[str]:
    listed = list(items)
    if not listed:
        return []
    more = [f"  and {len(listed) - SHOWN:,} more; --json lists all"] if len(listed) > SHOWN else []
    return [f"{title}: {len(listed):,}", *(f"  {printable(item)}" for item in listed[:SHOWN]), *more, ""]
