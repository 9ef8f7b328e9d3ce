"""The photos that ``ghostclas predict`` was asked about: where they come from, and how many there are."""

from __future__ import annotations

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from itertools import chain
from pathlib import Path

from ghostclas.errors import DataError, MissingExtraError, UsageError
from ghostclas.files import is_file, is_folder

FEW_PHOTOS = 100
"""Up to so many photos, an engine that starts 0.3 s sooner finishes sooner, however fast the others are."""

DEMO_PHOTOS = ("chelsea.png", "coffee.png", "rocket.jpg", "motorcycle_left.png")

_STDIN = "-"


class AskedPhotos:
    """Files, folders and patterns, ``-`` for a list on stdin, and the photographs of the demo."""

    def __init__(self, paths: Sequence[str], *, demo: bool = False) -> None:
        """Name the photos; nothing is read yet.

        Raises:
            UsageError: there is none.
        """
        if not paths and not demo:
            raise UsageError("predict needs a photo, a folder, a pattern or - (or --demo to see it work)")
        self.paths = paths
        self.demo = demo
        self._left_out: Counter[str] = Counter()

    @property
    def are_few(self) -> bool:
        """Whether so few photos are named that the start of an engine takes longer than they do."""
        return len(self.paths) <= FEW_PHOTOS and all(is_file(path) for path in self.paths)

    @property
    def words(self) -> list[str]:
        """The paths for a command that is shown: a pattern expanded by the shell would fill the screen."""
        return list(self.paths) if len(self.paths) < 4 else ["PATH..."]

    @property
    def left_out(self) -> str | None:
        """What was left out of folders so far, in one line."""
        if not self._left_out:
            return None
        # Importing ``data`` takes longer than labelling one photo.
        from ghostclas.data.filenames import describe_left_out

        return describe_left_out(self._left_out)

    def images(self) -> Iterator[Path]:
        """Yield the photos in the order in which they were named.

        Raises:
            MissingExtraError: the photographs of the demo are not installed.
        """
        from ghostclas.prediction import find_images, read_list

        return chain(
            map(Path, _demo_photos() if self.demo else ()),
            *(
                find_images(read_list(sys.stdin.buffer), literal=True, left_out=self._left_out)
                if path == _STDIN
                else find_images([path], left_out=self._left_out)
                for path in self.paths
            ),
        )

    def counted(self) -> list[int]:
        """Return a list that will hold the number of photos, once a thread has counted them.

        It stays empty where there is no folder to count, or the names come one by one.
        """
        total: list[int] = []
        if not self.demo and _STDIN not in self.paths and any(is_folder(path) for path in self.paths):
            from threading import Thread

            from ghostclas.prediction import count_images

            def count() -> None:
                total.append(count_images(self.paths))

            Thread(target=count, name="ghostclas-count", daemon=True).start()
        return total

    def none_found(self) -> DataError:
        """Return the error for names that stand for no photo."""
        why = f"; {self.left_out}" if self.left_out else ""
        return DataError(f"there are no images in {', '.join(self.paths) or 'the list'}{why}")


def _demo_photos() -> list[str]:
    # Found without importing scikit-image, which takes longer than labelling its photos.
    spec = find_spec("skimage")
    if spec is None or not spec.submodule_search_locations:
        raise MissingExtraError("--demo needs the photographs of scikit-image: pip install 'ghostclas[demo]'")
    folder = Path(spec.submodule_search_locations[0]) / "data"
    return [str(folder / name) for name in DEMO_PHOTOS]
