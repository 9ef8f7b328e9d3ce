"""Labelled images: where they are stored, how they are divided, and what their classes are called.

Nothing here needs torch; how images become batches is :mod:`ghostclas.training.input`.
"""

from ghostclas.data.identity import Fingerprint, explain_difference, fingerprint
from ghostclas.data.source import Sample, Source
from ghostclas.data.splits import Splits, open_source, open_splits
from ghostclas.data.subsets import Subset, align_source, source_notes

__all__ = [
    "Fingerprint",
    "Sample",
    "Source",
    "Splits",
    "Subset",
    "align_source",
    "explain_difference",
    "fingerprint",
    "open_source",
    "open_splits",
    "source_notes",
]
