"""Write the built-in model from a run, as a compact fp16 bundle below 10 MB.

python benchmarks/builtin_bundle.py runs/fourth src/ghostclas/assets/ghostnet_x1_0_tiny200
"""

from __future__ import annotations

import argparse

from ghostclas.exporting.onnx import export_bundle
from ghostclas.exporting.sources import open_trained

LIMIT = 10_000_000


def main() -> None:
    """Write the bundle and print its size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("run", help="a run, or a bundle")
    parser.add_argument("target", help="the folder to write")
    arguments = parser.parse_args()
    trained = open_trained(arguments.run)
    bundle = export_bundle(
        trained.model,
        trained.spec,
        trained.classes,
        trained.preprocess,
        arguments.target,
        precision="fp16",
        compact=True,
        postprocess=trained.postprocess,
        metrics=trained.metrics,
        provenance=trained.provenance,
    )
    size = sum(entry.bytes for entry in bundle.manifest.files)
    print(f"{bundle.path}: {size / 1e6:.2f} MB, {LIMIT / 1e6:.0f} MB are allowed")


if __name__ == "__main__":
    main()
