"""How often the most similar photo has the same label: recall@1 on clothing photos.

    python benchmarks/similar.py ../shared/data

Every photo of clothing/val looks for the most similar one in clothing/train, by the features of two models:
the built-in one, which never saw clothing photos, and one that was trained on clothing/train (see
clothing_model.py). Beside it stand the majority of the five most similar, and the model's own top-1 where it
has these labels. Writes results/similar.md.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import Counter
from pathlib import Path

from clothing_model import OPTIONS, clothing_model
from documents import machine, table, write_page

from ghostclas import load
from ghostclas.prediction import find_images
from ghostclas.prediction.similar import PhotoIndex

RESULTS = Path(__file__).parent / "results" / "similar.md"
NEAREST = 5


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    clothing = parser.parse_args().data / "clothing"
    photos = list(find_images([clothing / "val"]))
    rows = []
    for name, model in (("built-in", "default"), ("clothing", str(clothing_model(clothing.parent)))):
        with (
            load(model, engine="onnxruntime") as classifier,
            tempfile.TemporaryDirectory() as cache,
        ):
            seconds = []
            for _ in range(2):
                start = time.perf_counter()
                index = PhotoIndex.open(classifier, clothing / "train", cache=cache)
                seconds.append(time.perf_counter() - start)
            first = most = right = 0
            for photo, answer in zip(photos, index.nearest(photos, NEAREST), strict=True):
                labels = [near.label for near in answer.similar]
                label = photo.parent.name
                first += labels[0] == label
                # The first of several that are as frequent, that is the most similar.
                most += Counter(labels).most_common(1)[0][0] == label
            own = "none"
            if set(classifier.classes) == {photo.parent.name for photo in photos}:
                right = sum(
                    p.label == photo.parent.name for p, photo in zip(classifier(photos), photos, strict=True)
                )
                own = f"{100 * right / len(photos):.1f}"
        share = [f"{100 * part / len(photos):.1f}" for part in (first, most)]
        rows.append([name, *share, own, f"{seconds[0]:.1f} s", f"{seconds[1]:.2f} s"])
    lines = [
        "# Similar photos",
        "",
        f"{len(photos):,} photos of clothing/val look for similar ones among {len(index.files):,} of "
        "clothing/train, 10 classes. In percent of the photos.",
        "",
        *table(
            f"features of|recall@1|majority of {NEAREST}|the model's top-1|indexing|opening the kept index",
            rows,
        ),
        "",
        f"The clothing model: `ghostclas train --data clothing {' '.join(OPTIONS)}`.",
        "",
        f"{machine(['onnxruntime'])} `python benchmarks/similar.py DATA` repeats it.",
        "",
    ]
    write_page(RESULTS, lines)


if __name__ == "__main__":
    main()
