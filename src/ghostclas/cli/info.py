"""``ghostclas info``: the contents of a bundle."""

from __future__ import annotations

from typing import Annotated

import typer

from ghostclas.cli.console import print_next, say, say_json_text, table
from ghostclas.terminal import printable


def info_command(
    model: Annotated[str, typer.Argument(metavar="BUNDLE", help="A bundle, a run, or default.")],
    as_json: Annotated[bool, typer.Option("--json", help="The manifest as one JSON object.")] = False,
) -> None:
    """Show the contents of a bundle.

    Network, classes, files, accuracy and origin. The size and checksum of every file are verified first.
    """
    from ghostclas.zoo import locate

    bundle = locate(model).bundle()
    bundle.check()
    manifest = bundle.manifest
    if as_json:
        say_json_text(manifest.model_dump_json())
        return
    spec, before, after = manifest.spec, manifest.preprocess, manifest.postprocess
    facts = [
        ("name", manifest.name),
        ("path", str(bundle.path)),
        ("network", f"{spec.name} (width {spec.width:g}, {spec.flavour} flavour)"),
        (
            "classes",
            f"{len(manifest.classes)} (label hash {manifest.label_hash}): {_first(manifest.classes)}",
        ),
        ("input", f"short side {before.resize.short_side} {before.resize.interpolation}, crop {before.crop}"),
        ("scores", f"temperature {after.temperature:g}, unknown below {after.unknown_below:g}"),
        *(
            (
                "trained as" if key == "recipe" else key,
                "see --json" if isinstance(value, dict) else str(value),
            )
            for key, value in manifest.provenance.items()
        ),
    ]
    say(table(("", ""), facts).lstrip("\n"))
    for metric in manifest.metrics:
        top5 = "" if metric.top5 is None else f", top-5 {metric.top5:.2f} %"
        measured = f"{metric.images:,} images of {metric.dataset} through {metric.through}"
        say(printable(f"top-1 {metric.top1:.2f} %{top5} on {measured}"))
    rows = [(e.path, e.format, e.precision, f"{e.bytes / 1e6:.2f} MB", e.sha256[:12]) for e in manifest.files]
    say("\n" + table(("file", "format", "precision", "size", "sha256"), rows, right=(3,)))
    print_next("ghostclas", "verify", model)


def _first(classes: tuple[str, ...], shown: int = 6) -> str:
    more = ", ..." if len(classes) > shown else ""
    return ", ".join(classes[:shown]) + more
