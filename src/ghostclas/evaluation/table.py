"""The table of an evaluation: one row an image, with the answer and the five best labels."""

from __future__ import annotations

from typing import TextIO

import numpy as np

from ghostclas.evaluation.evaluation import Evaluation
from ghostclas.evaluation.metrics import label_ranks, row_chunks
from ghostclas.imaging import softmax, top_k
from ghostclas.spreadsheet import inert, row_writer

HEADER = ("file", "label", "answer", "score", "right", "label_score", "rank", "error")
BEST = 5


def write_table(evaluation: Evaluation, to: TextIO) -> None:
    """Write the answers to an open text file as CSV: the images that could be read, then the others.

    ``score`` is the answer's, ``label_score`` the true label's; ``rank`` is the place of the true label, 1 if
    the answer is right. ``answer_2``, ``score_2`` and so on are the next best labels. An image that could not
    be read has its error code in ``error``. Text that a spreadsheet would take for a formula has ``'`` in
    front, see :mod:`ghostclas.spreadsheet`.
    """
    e, best = evaluation, min(BEST, len(evaluation.classes))
    classes = [inert(name) for name in e.classes]
    write = row_writer(to)
    others = [f"{column}_{place}" for place in range(2, best + 1) for column in ("answer", "score")]
    write([*HEADER, *others])
    for rows in row_chunks(e.logits):
        scores = softmax(e.logits[rows], e.calibration.temperature)
        ranks = label_ranks(e.logits[rows], e.labels[rows])
        for offset, indices in enumerate(top_k(scores, best).tolist()):
            row = rows.start + offset
            label, own = int(e.labels[row]), scores[offset]
            answer = int(e.predicted[row])
            # Scores that round to the same float32 keep no order, and the answer is the first of them.
            ordered = [answer, *(index for index in indices if index != answer)][:best]
            cells = [cell for index in ordered[1:] for cell in (classes[index], _score(own[index]))]
            write(
                [
                    inert(e.key(row)),
                    classes[label],
                    classes[answer],
                    _score(own[answer]),
                    str(answer == label).lower(),
                    _score(own[label]),
                    int(ranks[offset]) + 1,
                    "",
                    *cells,
                ]
            )
    for image in e.bad:
        write([inert(image.key), *[""] * (len(HEADER) - 2), image.code, *[""] * len(others)])


def _score(value: np.float32) -> str:
    return f"{value:.6g}"
