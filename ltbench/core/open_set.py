"""Open-set F-measure, computed from counts.

Liu et al., "Large-Scale Long-Tailed Recognition in an Open World", CVPR 2019 (arXiv:1904.05160), as
in their code: an image whose largest class probability is below a threshold is rejected as unknown.

The code of Kang et al. (ICLR 2020) and of LFME differs: a rejected image of a known class is no
mistake there, so that the precision is right / (images - rejected).
"""

from fractions import Fraction

THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""Thresholds of the largest class probability. The authors use 0.1, for 365 and 1,000 classes; with
ten classes no image is below it."""


def f_measure(right: int, images: int, mistaken: int) -> Fraction:
    """Return the harmonic mean of precision and recall, a fraction.

    Args:
        right: test images that are classified correctly and not rejected.
        images: all test images of known classes; right / images is the precision.
        mistaken: open-set images that are not rejected; right / (right + mistaken) is the recall.
    """
    if right == 0:
        return Fraction(0)
    precision, recall = Fraction(right, images), Fraction(right, right + mistaken)
    return 2 * precision * recall / (precision + recall)
