"""Labelled images: where they come from, how they are checked, and how they become batches.

Importing this package needs no torch; its modules ``transforms``, ``mixing`` and ``loader`` do.
"""

from ghostclas.data.source import Sample, Source
from ghostclas.data.splits import Splits, open_source, open_splits
from ghostclas.data.subsets import Subset, align_source

__all__ = ["Sample", "Source", "Splits", "Subset", "align_source", "open_source", "open_splits"]
