"""AUROC pair counts and average precision of a class.

AUROC is the share of pairs of an image of the class and an image of another in which the first has
the higher score; ties count half. Average precision is the mean, over the images of the class, of
the precision at their rank; among tied images it is the mean over all their orders, in closed form:
McSherry and Najork, "Computing Information Retrieval Performance Measures Efficiently in the
Presence of Tied Scores", ECIR 2008.
"""

from dataclasses import dataclass
from math import fsum

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class ClassRanking:
    """Ranking of all images by the score of one class.

    Attributes:
        pairs: twice the pairs in which the image of the class has the higher score, plus the ties.
        average_precision: in (0, 1]; None without images of the class.
    """

    pairs: int
    average_precision: float | None


def rank_class(scores: NDArray[np.float32], own: NDArray[np.bool_]) -> ClassRanking:
    """Rank all images by the score of one class.

    Both numbers are equal in any order of the images: the pairs are counted, the precisions rounded
    once each and summed without rounding.

    Args:
        scores: [N], not NaN.
        own: [N], whether an image is of the class.

    Raises:
        ValueError: for NaN, other shapes, or `own` that is not bool.
    """
    if own.dtype != np.bool_ or scores.ndim != 1 or own.shape != scores.shape:
        raise ValueError("expected scores [N], and bool [N] whether an image is of the class")
    if np.isnan(scores).any():
        raise ValueError("a score is not a number")
    count = int(own.sum())
    if count == 0:
        return ClassRanking(0, None)
    ordered = np.sort(scores)
    values, right = np.unique(scores[own], return_counts=True)  # r: images of the class by score
    first = np.searchsorted(ordered, values, "left")
    last = np.searchsorted(ordered, values, "right")
    tied = last - first  # t: all images by score
    above = len(scores) - last
    upto = np.cumsum(right)
    below, others = first - (upto - right), tied - right
    pairs = int((right * (2 * below + others)).sum())
    # Position p of t tied images has an image of the class with probability r / t; of the p - 1
    # before it a share (r - 1) / (t - 1) is then of the class, and all of the class above.
    every = np.repeat(np.arange(len(values)), tied)
    before = np.arange(len(every)) - np.repeat(np.cumsum(tied) - tied, tied)  # p - 1
    r, t, rank = right[every], tied[every], above[every] + before + 1
    most = np.maximum(t - 1, 1)
    seen = (count - upto + 1)[every] * most + before * (r - 1)
    precisions = (r * seen) / (t * most * rank)
    return ClassRanking(pairs, fsum(precisions) / count)
