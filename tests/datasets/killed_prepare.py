"""A program that prepares a data set and kills itself with SIGKILL after a number of images."""

import os
import signal
import sys
from pathlib import Path

from ghostclas.datasets.imagenet import Expected, prepare_imagenet


def main(place: str, output: str, layout: str, deadline: int) -> None:
    def progress(done: int, total: int | None) -> None:
        if done >= deadline:
            os.kill(os.getpid(), signal.SIGKILL)

    prepare_imagenet(
        Path(place, "train.tar"),
        Path(place, "val.tar"),
        Path(place, "devkit.tar.gz"),
        Path(output),
        layout=layout,  # type: ignore[arg-type]
        expect=Expected(train=12, val=6, classes=3),
        shard_images=5,
        progress=progress,
    )


if __name__ == "__main__":
    main(sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4]))
