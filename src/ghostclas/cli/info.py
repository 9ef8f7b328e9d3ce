"""``ghostclas info``: the contents of a bundle."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from ghostclas.cli.console import print_next, say, say_json_text, table


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
        ("normalisation", "inside the files: they take pixels from 0 to 255"),
        ("scores", f"temperature {after.temperature:g}, unknown below {after.unknown_below:g}"),
        *(
            ("trained as" if key == "recipe" else key, _fact(key, value))
            for key, value in manifest.provenance.items()
        ),
    ]
    say(table(("", ""), facts).lstrip("\n"))
    if manifest.metrics:
        measured = [
            (
                metric.dataset,
                f"{metric.images:,}",
                f"{metric.top1:.2f} %",
                "-" if metric.top5 is None else f"{metric.top5:.2f} %",
                metric.through,
            )
            for metric in manifest.metrics
        ]
        header = ("measured on", "images", "top-1", "top-5", "through")
        say("\n" + table(header, measured, right=(1, 2, 3)))
    rows = [(e.path, e.format, e.precision, f"{e.bytes / 1e6:.2f} MB", e.sha256[:12]) for e in manifest.files]
    say("\n" + table(("file", "format", "precision", "size", "sha256"), rows, right=(3,)))
    print_next("ghostclas", "verify", model)


def _fact(key: str, value: object) -> str:
    if not isinstance(value, dict):
        return str(value)
    if key == "set_aside":
        return f"{value.get('held_out')} of {value.get('images')} images, seed {value.get('seed')}"
    # Only the version that wrote a file reads it.
    return "; ".join(f"{k} {v}" for k, v in value.items()) if key == "paddlelite" else _made(value)


def _made(value: Mapping[str, Any]) -> str:
    """Return what ``exporting.provenance.made_now`` gave on a line; other values are for ``--json``."""
    versions = {key: version for key, version in value.items() if key != "date"}
    if "date" not in value or "ghostclas" not in versions:
        return "see --json"
    own, *others = (f"{name} {version}" for name, version in versions.items())
    return f"{value['date']} by {own}" + (f" with {', '.join(others)}" if others else "")


def _first(classes: tuple[str, ...], shown: int = 6) -> str:
    more = ", ..." if len(classes) > shown else ""
    return ", ".join(classes[:shown]) + more
