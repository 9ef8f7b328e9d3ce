"""Random answers of a model."""

from __future__ import annotations

import numpy as np
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

anything = settings(deadline=None, max_examples=50)


@st.composite
def answers(draw: st.DrawFn, *, min_classes: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Logits of few distinct values, so that ties are common, and labels."""
    count = draw(st.integers(1, 40))
    classes = draw(st.integers(min_classes, 9))
    tenths = draw(arrays(np.int8, (count, classes), elements=st.integers(-40, 40)))
    labels = draw(arrays(np.int64, count, elements=st.integers(0, classes - 1)))
    return (tenths / 10).astype(np.float32), labels
