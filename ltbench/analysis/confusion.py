"""Confusion matrices of variants, summed over seeds."""

from collections.abc import Iterable

import numpy as np
from numpy.typing import NDArray

from ltbench.runs.record import Record


def confusion_matrix(records: Iterable[Record]) -> NDArray[np.int64] | None:
    """Return the confusion counts of runs, summed.

    Args:
        records: of the same classes.

    Returns:
        [C, C], test images by true and predicted class; None without records, or if one does not
        hold its counts, as with many classes (`runs.store.with_confusion`).
    """
    total: NDArray[np.int64] | None = None
    for record in records:
        matrix = record.test.confusion_matrix() if record.test else None
        if matrix is None:
            return None
        total = matrix if total is None else total + matrix
    return total
