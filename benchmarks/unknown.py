"""How well a model says "none of these": the score against the energy, photos of one kind against another.

    python benchmarks/unknown.py ../shared/data [--photos 1000]

The folder holds clothing/ and tiny-imagenet-200.zip. Two models are measured on photos of their own classes
and on photos of none of them: a clothing model (see clothing_model.py, trained on the first run) and the
built-in model, each against the photos of the other. Classes that the two share, such as sandals and shoes,
are left out of the others. Photos of the own classes are those of ``val``.

Thresholds are fitted as `ghostclas calibrate` fits them, on one half of the own photos and of the others, and
counted on the other half, in both directions. Writes results/unknown.md.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from clothing_model import OPTIONS, clothing_model
from documents import machine, table, write_page
from numpy.typing import NDArray

from ghostclas import load
from ghostclas.data import Source, open_source
from ghostclas.data.subsets import Subset
from ghostclas.evaluation import evaluate, fit_unknown, recalibrate
from ghostclas.evaluation.calibration import halve, scores
from ghostclas.prediction import Classifier

RESULTS = Path(__file__).parent / "results" / "unknown.md"
COSTS = (0.01, 0.05, 0.1)
WORN = {
    *(
        "academic gown",
        "apron",
        "backpack",
        "bikini",
        "bow tie",
        "cardigan",
        "Christmas stocking",
        "fur coat",
    ),
    *("gasmask", "kimono", "military uniform", "miniskirt", "neck brace", "poncho", "sandal", "sock"),
    *("sombrero", "sunglasses", "swimming trunks", "vestment"),
}
"""Classes of Tiny-ImageNet that a clothing model is not wrong to know."""
UNLIKE = {"dress", "pants", "shirt", "t-shirt"}
"""Classes of the clothing photos that the built-in model has nothing like."""

Floats = NDArray[np.float64]
Measure = Callable[[NDArray[np.float32], float], Floats]


def best_score(logits: NDArray[np.float32], temperature: float) -> Floats:
    """Return the probability of the best class."""
    return scores(logits, np.zeros(len(logits), np.int64), temperature)[0]


def energy(logits: NDArray[np.float32], temperature: float) -> Floats:
    """Return the negative energy, ``log sum exp`` of the logits: Liu et al., NeurIPS 2020, at T = 1."""
    wide = logits.astype(np.float64)
    top = wide.max(axis=1)
    return np.asarray(top + np.log(np.exp(wide - top[:, None]).sum(axis=1)))


def best_logit(logits: NDArray[np.float32], temperature: float) -> Floats:
    """Return the largest logit: Hendrycks et al., ICML 2022."""
    return np.asarray(logits.max(axis=1), np.float64)


MEASURES: Mapping[str, Measure] = {"best score": best_score, "energy": energy, "best logit": best_logit}


@dataclass(frozen=True)
class Answers:
    """The logits of a model for its own photos, with their classes, and for others."""

    own: NDArray[np.float32]
    labels: NDArray[np.int64]
    others: NDArray[np.float32]
    temperature: float


def only(source: Source, names: set[str], most: int) -> Source:
    """Return at most ``most`` photos of the classes ``names``, evenly from all of them."""
    rows = [row for row, sample in enumerate(source.samples) if source.classes[sample.label] in names]
    chosen = [rows[i] for i in np.linspace(0, len(rows) - 1, min(most, len(rows))).astype(int)]
    return Subset(source, np.array(chosen, np.int64))


def answers(classifier: Classifier, own: Source, others: Source) -> Answers:
    """Let the model answer both, at the temperature that fits its own photos."""
    evaluation = evaluate(classifier, own)
    foreign = [
        row
        for row in classifier.stream_logits(others.read(i) for i in range(len(others.samples)))
        if isinstance(row, np.ndarray)
    ]
    fitted = recalibrate(evaluation.logits, evaluation.labels, classifier.postprocess.temperature)
    return Answers(evaluation.logits, evaluation.labels, np.stack(foreign), fitted.temperature)


def area(higher: Floats, lower: Floats) -> float:
    """Return the area under the ROC curve: how often one of ``higher`` exceeds one of ``lower``."""
    ordered = np.sort(lower)
    below = np.searchsorted(ordered, higher, "left") + np.searchsorted(ordered, higher, "right")
    return float(below.mean() / 2 / len(lower))


def rows_of(name: str, found: Answers) -> list[list[str]]:
    """Return the rows of the table for one model."""
    correct = found.own.argmax(axis=1) == found.labels
    halves, other_halves = halve(found.labels), halve(np.zeros(len(found.others), np.int64))
    rows = []
    for measure, compute in MEASURES.items():
        own, others = compute(found.own, found.temperature), compute(found.others, found.temperature)
        if measure != "best score":
            # Ranks: the rule of the fit depends on nothing else, and it takes values from 0 to 1.
            ordered = np.sort(np.concatenate([own, others]))
            own, others = (np.searchsorted(ordered, x, "right") / len(ordered) for x in (own, others))
        for with_others in (False, True):
            if with_others and measure != "best score":
                continue
            cells = []
            for cost in COSTS:
                lost = wrong = caught = 0
                for a, b in ((0, 1), (1, 0)):
                    seen, new = halves[a], halves[b]
                    given = others[other_halves[a]] if with_others else None
                    low = fit_unknown(own[seen], correct[seen], given, cost=cost).threshold
                    lost += int((own[new][correct[new]] < low).sum())
                    wrong += int((own[new][~correct[new]] < low).sum())
                    caught += int((others[other_halves[b]] < low).sum())
                parts = (lost / correct.sum(), wrong / max((~correct).sum(), 1), caught / len(others))
                cells.append(" / ".join(f"{100 * part:.1f}" for part in parts))
            title = f"{measure}, others given" if with_others else measure
            rows.append([name, title, f"{100 * area(own[correct], others):.1f}", *cells])
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("data", type=Path)
    parser.add_argument("--photos", type=int, default=1000, help="at most so many of each kind")
    arguments = parser.parse_args()
    clothing = open_source(arguments.data / "clothing", "val")
    tiny = open_source(arguments.data / "tiny-imagenet-200.zip", "val")
    unlike = only(open_source(arguments.data / "clothing", "train"), UNLIKE, arguments.photos)
    rows, counts = [], []
    unworn = only(tiny, {*tiny.classes} - WORN, arguments.photos)
    for name, model, own, others in (
        ("clothing", str(clothing_model(arguments.data)), clothing, unworn),
        ("built-in", "default", only(tiny, {*tiny.classes}, arguments.photos), unlike),
    ):
        with load(model, engine="onnxruntime") as classifier:
            found = answers(classifier, own, others)
        rows += rows_of(name, found)
        right = int((found.own.argmax(axis=1) == found.labels).sum())
        counts.append(
            f"- {name}: {len(found.own):,} own photos, {right:,} of them right; {len(found.others):,} others."
        )
    costs = "|".join(f"cost {100 * cost:g} %: right / wrong / others" for cost in COSTS)
    photos = arguments.photos
    options = f" --photos {photos}" if photos != parser.get_default("photos") else ""
    lines = [
        "# None of these",
        "",
        "The share in percent of right answers, wrong answers and other photos that becomes unknown, by "
        "what is compared with the threshold and by the cost that was allowed. The first of the three is "
        "what the threshold costs; the last should be high. Area: the probability that a photo with a right "
        "answer gets a higher value than another photo.",
        "",
        *counts,
        "",
        *table(f"model|value|area, %|{costs}", rows),
        "",
        f"The clothing model: `ghostclas train --data clothing {' '.join(OPTIONS)}`. Its others are "
        f"Tiny-ImageNet photos, 64 pixels wide, without {len(WORN)} classes of things to wear. The others "
        f"of the built-in model are photos of {', '.join(sorted(UNLIKE))}. Thresholds are fitted on one "
        "half and counted on the other, in both directions.",
        "",
        f"{machine(['onnxruntime'])} `python benchmarks/unknown.py DATA{options}` repeats it.",
        "",
    ]
    write_page(RESULTS, lines)


if __name__ == "__main__":
    main()
