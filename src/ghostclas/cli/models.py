"""``ghostclas models``: the named networks."""

from __future__ import annotations

from typing import Annotated

import typer

from ghostclas.cli.console import note, print_next, say, say_json, table

HEADER = ("name", "published by", "params", "MACs", "FLOPs", "fp32 file", "top-1", "top-5", "weights")


def models_command(
    as_json: Annotated[bool, typer.Option("--json", help="One JSON array with every figure.")] = False,
) -> None:
    """List the named networks with their cost and published accuracy."""
    from ghostclas.zoo import ZOO

    if as_json:
        say_json(
            [
                entry.model_dump(mode="json") | {"flops": entry.flops, "weight_bytes": entry.weight_bytes}
                for entry in ZOO.values()
            ]
        )
        return
    rows = [
        (
            entry.name,
            entry.origin,
            f"{entry.parameters / 1e6:.2f} M",
            f"{entry.macs / 1e6:.0f} M",
            f"{entry.flops / 1e6:.0f} M",
            f"{entry.weight_bytes / 1e6:.1f} MB",
            "-" if entry.top1 is None else f"{entry.top1:.2f}",
            "-" if entry.top5 is None else f"{entry.top5:.2f}",
            "published" if entry.url else "-",
        )
        for entry in ZOO.values()
    ]
    say(table(HEADER, rows, right=range(2, 8)))
    note(
        "\nFor 1000 classes and one 224 x 224 image. A MAC is a multiply and an add: 2 FLOPs. Papers"
        "\noften print MACs and call them FLOPs. Accuracies are published ones on ImageNet-1k, in percent."
        "\nAny width has a name, too: ghostnet_x0_75 is 0.75 times as wide as ghostnet_x1_0."
    )
    print_next("ghostclas", "train", "--network", "ghostnet_x1_0", "--data", "FOLDER")
