"""Which epoch's weights a run keeps."""

from __future__ import annotations

from math import sqrt


def is_better(top1: float, loss: float, *, kept: tuple[float, float], highest: float, images: int) -> bool:
    """Return whether the weights of an epoch replace those that are kept.

    Few validation images tell epochs apart badly by their accuracy, and the highest of many may be chance. So
    all epochs within one standard error of the highest top-1 count as equal, and of these the one with the
    lowest validation loss is kept. This is the one-standard-error rule with epochs in the place of trees
    (L. Breiman, J. Friedman, R. Olshen and C. Stone, Classification and Regression Trees, 1984).

    Args:
        top1: of the epoch, in percent of the validation images.
        loss: its validation loss.
        kept: top-1 and loss of the epoch that is kept.
        highest: the highest top-1 so far, of this epoch, too.
        images: the number of validation images.
    """
    # With two more right and two more wrong, the error is above zero where all are right (Agresti and Coull).
    share = (highest / 100 * images + 2) / (images + 4)
    bound = highest - 100 * sqrt(share * (1 - share) / images)
    if top1 < bound:
        return False
    return kept[0] < bound or (loss, -top1) < (kept[1], -kept[0])
