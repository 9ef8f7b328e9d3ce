"""HTML reports of evaluations and comparisons.

A report is a directory with ``index.html``, which needs no other file, and ``report.json``, the same figures
for programs. That of an evaluation has ``predictions.csv`` beside them, one row an image. None of them holds
a date or a speed, so the same measurement gives the same bytes; only the page of a training run says how long
that took.
"""

from __future__ import annotations

import io
import json
import os
from codecs import BOM_UTF8
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path, PurePath
from typing import Any

import numpy as np
import numpy.typing as npt

from ghostclas.bundle import Bundle
from ghostclas.data import source_notes
from ghostclas.data.storage import SPLIT_NAMES
from ghostclas.errors import BundleError, DataError, ImageError, UsageError
from ghostclas.evaluation.calibration import ReliabilityBin
from ghostclas.evaluation.comparison import Comparison
from ghostclas.evaluation.evaluation import Evaluation, readable
from ghostclas.evaluation.metrics import Ints, wilson_interval
from ghostclas.evaluation.table import HEADER, write_table
from ghostclas.files import replacing_folder
from ghostclas.pages import check_report_folder, data_uri, render, thumbnail
from ghostclas.pages.charts import Chart, drawing
from ghostclas.prediction.explanation import Explainer
from ghostclas.prediction.similar import PhotoIndex, SimilarPhoto
from ghostclas.prediction.stored_photos import read_photo
from ghostclas.terminal import counted

PAGE, FIGURES, TABLE = "index.html", "report.json", "predictions.csv"
MISTAKES = 24
PAIRS = 9
CHANGES = 12
TABLE_CLASSES = 40
"""Up to so many classes, the confusion matrix is a table with numbers; above, it is an image."""
MAP_CLASSES = 1000
"""Above so many classes, the image would exceed a screen, and only the most frequent mistakes are shown."""
MANY_PAIRS = 60
LISTED_CLASSES = 1000
"""The number of classes on the page, those with the lowest F1; ``report.json`` has all."""

_BESIDE_CLASSES = 12
_MARK = b'<meta name="generator" content="ghostclas">'
_THUMBNAIL = 256
_CHART = {"left": 44.0, "right": 428.0, "top": 16.0, "bottom": 256.0}
_VERDICT_MARGIN = 0.01
_SIGNIFICANT = 0.05
_RIGHT, _WRONG, _EMPTY = np.array([15, 138, 126]), np.array([217, 84, 43]), np.array([255, 255, 255])


@dataclass(frozen=True)
class Learned:
    """How the measured model was trained: charts over its epochs, and facts by their names."""

    charts: tuple[Chart, ...]
    facts: Mapping[str, str]


def write_report(
    evaluation: Evaluation,
    directory: str | os.PathLike[str],
    *,
    learned: Learned | None = None,
    bundle: Bundle | None = None,
    seen: Mapping[int, SimilarPhoto] | None = None,
    excel: bool = False,
) -> Path:
    """Write the report of ``evaluation`` and return the path of its ``index.html``.

    The directory appears whole or not at all; an earlier report in it is replaced. ``learned`` is shown on
    the page of a training run. With the evaluated ``bundle``, the most confident mistakes are shown with the
    places that speak for the wrong label (see ``prediction.explanation``), if its network allows it. ``seen``
    are photos to show beside them; see :func:`most_similar`. ``excel`` puts a byte order mark before the
    table, without which Excel misreads letters beyond ASCII.

    Raises:
        UsageError: the directory holds something else, or cannot be written.
        MissingExtraError: jinja2 is not installed.
    """
    check_report(directory)
    shown = {
        **_evaluation_page(evaluation, bundle, seen or {}),
        "charts": [drawing(chart) for chart in learned.charts] if learned else [],
        "facts": learned.facts if learned else {},
    }
    page = _render("evaluation.html.jinja", shown)
    return _write(Path(directory), page, evaluation.as_dict(), evaluation, excel=excel)


def most_similar(evaluation: Evaluation, index: PhotoIndex) -> dict[int, SimilarPhoto]:
    """Return the photo of the index that is most like each mistake of a report, by its row.

    The index holds what the model learned from: the photo shows what may have misled it.
    """
    rows = evaluation.mistakes()[:MISTAKES].tolist()
    contents = {}
    for row in rows:
        # A photo that is gone is not shown.
        with suppress(ImageError):
            contents[row] = evaluation.read(row)
    found = zip(contents, index.nearest(contents.values(), 1), strict=True)
    return {row: answer.similar[0] for row, answer in found if answer.similar}


def write_comparison(comparison: Comparison, directory: str | os.PathLike[str]) -> Path:
    """Write the report of ``comparison`` as :func:`write_report` does."""
    check_report(directory)
    page = _render("comparison.html.jinja", _comparison_page(comparison))
    return _write(Path(directory), page, comparison.as_dict())


def check_report(directory: str | os.PathLike[str]) -> None:
    """Raise before the measurement what writing a report to ``directory`` would raise after it.

    Raises:
        UsageError: the directory holds something other than a report, or cannot be written to.
        MissingExtraError: jinja2 is not installed.
    """
    check_report_folder(directory, "report", _strangers)


def _strangers(target: Path, found: set[str]) -> set[str]:
    return found - {name for name, is_own in _OWN.items() if is_own(target / name)}


def _is_page(path: Path) -> bool:
    """Whether this package wrote the page: by its ``generator`` tag or, in older pages, by its footer."""
    page = path.read_bytes() if path.is_file() else b""
    return _MARK in page or b"<footer>Measured by ghostclas " in page


def _is_figures(path: Path) -> bool:
    try:
        figures = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return False
    return isinstance(figures, dict) and {"dataset", "images", "per_class"} <= figures.keys()


def _is_table(path: Path) -> bool:
    begin = ",".join(HEADER).encode()
    if not path.is_file():
        return False
    with path.open("rb") as file:
        return file.read(len(BOM_UTF8) + len(begin)).removeprefix(BOM_UTF8).startswith(begin)


_OWN = {PAGE: _is_page, FIGURES: _is_figures, TABLE: _is_table}


# ------------------------------------------------------------------ contents of the pages


def _evaluation_page(
    e: Evaluation, bundle: Bundle | None, seen: Mapping[int, SimilarPhoto]
) -> dict[str, Any]:
    small = len(e.classes) <= TABLE_CLASSES
    drawn = TABLE_CLASSES < len(e.classes) <= MAP_CLASSES
    support = [c.support for c in e.per_class]
    confidence = (
        sum(b.count * b.confidence for b in e.calibration.bins if b.confidence is not None) / e.images
    )
    wrong = e.mistakes()
    mistakes = wrong[:MISTAKES].tolist()
    explained = _explained(e, mistakes, bundle) if bundle else {}
    return {
        "e": e,
        "dataset": _short(e.source.location),
        "notes": source_notes(e.source),
        "absent": support.count(0),
        "interval": wilson_interval(e.correct_top1, e.images),
        "confidence": confidence,
        "verdict": _score_verdict(confidence - e.correct_top1 / e.images),
        "small": small,
        "drawn": drawn,
        "beside": drawn or len(e.classes) <= _BESIDE_CLASSES,
        "cell": 46 if len(e.classes) <= _BESIDE_CLASSES else 36 if len(e.classes) <= 25 else 28,
        "matrix": _matrix(e) if small else [],
        "map": _map(e.confusion.dense()) if drawn else "",
        "cells": e.confusion.cells() if drawn else [],
        "support": support,
        "pairs": _pairs(e, wrong, PAIRS if small or drawn else MANY_PAIRS),
        "classes": sorted(e.per_class, key=lambda c: (c.f1 is None, c.f1))[:LISTED_CLASSES],
        "bars": _bars(e.calibration.bins),
        "most": max(b.count for b in e.calibration.bins),
        "mistakes": [
            {**_mistake(e, row), "heat": explained.get(row, ""), "seen": _seen(seen.get(row))}
            for row in mistakes
        ],
        "explained": bool(explained),
        "seen": bool(seen),
        "wrong": len(wrong),
    }


def _comparison_page(c: Comparison) -> dict[str, Any]:
    name_a, name_b = names(c)
    return {
        "c": c,
        "notes": source_notes(c.a.source),
        "name_a": name_a,
        "name_b": name_b,
        "dataset": _short(c.a.source.location),
        "p_value": format_p(c.p_value),
        "verdict": verdict(c),
        "classes": sorted(c.per_class, key=lambda r: (r.delta is None, r.delta)),
        "groups": [
            _changed("Only A is right: lost", "B", c.b, c.only_a),
            _changed("Only B is right: gained", "A", c.a, c.only_b),
        ],
        "bad": tuple(dict.fromkeys((*c.a.bad, *c.b.bad))),
    }


def names(comparison: Comparison) -> tuple[str, str]:
    """Return what tells the two models apart: their runs or, if these are the same, their runtimes, too."""
    a, b = comparison.a, comparison.b
    if a.name != b.name:
        return a.name, b.name
    return f"{a.name} ({a.through})", f"{b.name} ({b.through})"


def verdict(comparison: Comparison) -> str:
    """Return one sentence that names the better model and says whether chance explains the difference."""
    gained, lost, p = len(comparison.only_b), len(comparison.only_a), comparison.p_value
    if not gained and not lost:
        return "Both are right on exactly the same images."
    change = f"From A to B, {counted(gained, 'image')} gained and {lost:,} lost"
    if gained == lost:
        return f"{change}: neither model is better."
    better = "B" if gained > lost else "A"
    if p < _SIGNIFICANT:
        return f"{change}: {better} is better, and chance is an unlikely reason (p = {format_p(p)})."
    return f"{change}: too few to tell from chance (p = {format_p(p)})."


def format_p(p: float) -> str:
    """Return a p-value in readable form."""
    return f"{p:.3f}" if p >= 0.001 else f"{p:.1e}"


def _changed(title: str, wrong: str, e: Evaluation, indices: Ints) -> dict[str, Any]:
    rows = np.searchsorted(e.indices, indices)
    rows = rows[np.argsort(-e.confidence[rows], kind="stable")]
    photos = [_mistake(e, row) for row in rows[:CHANGES].tolist()]
    return {"title": title, "wrong": wrong, "total": len(rows), "photos": photos}


def _mistake(e: Evaluation, row: int) -> dict[str, Any]:
    right, said = int(e.labels[row]), int(e.predicted[row])
    return {
        "uri": _thumbnail(e, row),
        "key": e.key(row),
        "right": e.classes[right],
        "said": e.classes[said],
        "score": e.score(row, said),
        "right_score": e.score(row, right),
    }


def _pairs(e: Evaluation, wrong: Ints, most: int) -> list[dict[str, Any]]:
    pairs = []
    for right, said, count in e.confused()[:most]:
        example = int(wrong[(e.labels[wrong] == right) & (e.predicted[wrong] == said)][0])
        pairs.append(
            {
                "right": e.classes[right],
                "said": e.classes[said],
                "count": count,
                "support": e.per_class[right].support,
                "uri": _thumbnail(e, example),
                "key": e.key(example),
            }
        )
    return pairs


def _explained(e: Evaluation, rows: Sequence[int], bundle: Bundle) -> dict[int, str]:
    """Return the photos with the heat of their predicted class as data URIs, by row.

    There is none where the network does not end in a pooled feature map, and none of a photo that is gone.
    """
    explainer = Explainer(bundle)
    found = {}
    try:
        for row in rows:
            try:
                explanation = explainer.explain(e.read(row), int(e.predicted[row]))
            except ImageError:
                continue
            found[row] = data_uri("image/jpeg", explanation.encoded("JPEG", _THUMBNAIL))
    except BundleError:
        pass
    finally:
        explainer.close()
    return found


def _seen(similar: SimilarPhoto | None) -> dict[str, Any] | None:
    """Return what the page shows of a similar photo; nothing of one that was removed meanwhile."""
    if similar is None:
        return None
    try:
        uri = thumbnail(read_photo(similar.file), _THUMBNAIL)
    except (DataError, ImageError, OSError):
        return None
    return {
        "uri": uri,
        "label": similar.label or "no label",
        "cosine": similar.similarity,
        "key": similar.file,
    }


def _thumbnail(e: Evaluation, row: int) -> str:
    """Return the photo as a data URI, or nothing if it was removed since the evaluation."""
    try:
        return thumbnail(e.read(row), _THUMBNAIL)
    except ImageError:
        return ""


# ------------------------------------------------------------------ charts


def _matrix(e: Evaluation) -> list[dict[str, Any]]:
    rows = []
    for i, (figures, counts) in enumerate(zip(e.per_class, e.confusion.dense().tolist(), strict=True)):
        cells = []
        for j, count in enumerate(counts):
            share = count / figures.support if figures.support else 0.0
            # The square root keeps a handful of mistakes visible beside hundreds of correct images. Above 0.8
            # the number would be hard to read.
            alpha = round(0.12 + 0.66 * share**0.5, 3)
            cells.append({"name": e.classes[j], "count": count, "right": i == j, "alpha": alpha})
        rows.append({"name": figures.name, "support": figures.support, "cells": cells})
    return rows


def _map(confusion: Ints) -> str:
    """Return the confusion matrix as a PNG data URI, one pixel a cell."""
    from PIL import Image

    support = confusion.sum(axis=1, keepdims=True)
    share = np.sqrt(confusion / np.maximum(support, 1))[..., None]
    strength = np.where(confusion[..., None] > 0, 0.15 + 0.85 * share, 0.0)
    ink = np.where(np.eye(len(confusion), dtype=bool)[..., None], _RIGHT, _WRONG)
    there = strength > 0
    # Transparent, for pages that are light or dark: a cell is its colour as far as it is strong.
    pixels: npt.NDArray[np.uint8] = np.concatenate(
        [np.where(there, ink, _EMPTY), np.rint(255 * strength)], axis=2
    ).astype(np.uint8)
    buffer = io.BytesIO()
    Image.fromarray(pixels).save(buffer, "PNG", optimize=True)
    return data_uri("image/png", buffer.getvalue())


def _bars(bins: Sequence[ReliabilityBin]) -> list[dict[str, Any]]:
    """Return the positions of both charts' bars in a drawing of 440 x 300 units."""
    most = max(b.count for b in bins)
    wide, high = _CHART["right"] - _CHART["left"], _CHART["bottom"] - _CHART["top"]
    bars = []
    for b in bins:
        accuracy, confidence = b.accuracy or 0.0, b.confidence or 0.0
        all_height, right_height = high * b.count / most, high * b.correct / most
        bars.append(
            {
                "count": b.count,
                "correct": b.correct,
                "accuracy": accuracy,
                "confidence": confidence,
                "range": f"{100 * b.lower:.0f} to {100 * b.upper:.0f} %",
                "x": round(_CHART["left"] + wide * b.lower + 1.5, 1),
                "width": round(wide * (b.upper - b.lower) - 3, 1),
                "y": round(_CHART["bottom"] - high * accuracy, 1),
                "height": round(high * accuracy, 1),
                "mean_y": round(_CHART["bottom"] - high * confidence, 1),
                "opacity": round(0.3 + 0.7 * min(1.0, b.count / 30), 2),
                "right_y": round(_CHART["bottom"] - right_height, 1),
                "right_height": round(right_height, 1),
                "wrong_y": round(_CHART["bottom"] - all_height, 1),
                "wrong_height": round(all_height - right_height, 1),
            }
        )
    return bars


def _score_verdict(gap: float) -> str:
    if abs(gap) < _VERDICT_MARGIN:
        return "about right"
    return "too high" if gap > 0 else "too low"


def _short(location: str) -> str:
    parts = [part.removesuffix(".zip") for part in PurePath(location).parts]
    return readable("/".join(parts[-2:] if parts[-1].lower() in SPLIT_NAMES else parts[-1:]))


# ------------------------------------------------------------------ files


def _render(template: str, values: Mapping[str, Any]) -> str:
    return render(Path(__file__).with_name("pages") / template, **values)


def _write(
    target: Path,
    page: str,
    figures: Mapping[str, Any],
    answers: Evaluation | None = None,
    *,
    excel: bool = False,
) -> Path:
    """Replace ``target``, which is absent, empty or a report, by a new directory with all files."""
    text = json.dumps(figures, ensure_ascii=False, separators=(",", ":")) + "\n"
    try:
        with replacing_folder(target) as folder:
            for name, content in ((PAGE, page), (FIGURES, text)):
                (folder / name).write_text(content, encoding="utf-8", newline="\n")
            if answers is not None:
                encoding = "utf-8-sig" if excel else "utf-8"
                with (folder / TABLE).open("w", encoding=encoding, newline="") as to:
                    write_table(answers, to)
    except OSError as error:
        raise UsageError(f"cannot write the report to {target}: {error.strerror}") from None
    return target / PAGE
