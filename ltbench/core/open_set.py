"""How well a method tells its classes from images of none of them, from counts.

Liu et al., "Large-Scale Long-Tailed Recognition in an Open World", CVPR 2019 (arXiv:1904.05160), as
their code measures it: an image whose largest class probability is below a threshold is rejected.

The code of Kang et al. (ICLR 2020) and of LFME counts otherwise: an image of the classes that is
rejected is no mistake there, so that the precision is right / (images - rejected).
"""

from fractions import Fraction

THRESHOLDS = (0.1, 0.3, 0.5, 0.7, 0.9)
"""The first is the authors', for 365 and 1,000 classes; ten classes never fall below it."""


def f_measure(right: int, images: int, mistaken: int) -> Fraction:
    """Return the harmonic mean of precision and recall, a fraction.

    Args:
        right: images of the classes that are classified right and not rejected.
        images: all images of the classes; right / images is the precision.
        mistaken: images of the open set that are not rejected; right / (right + mistaken) is the
            recall.
    """
    if right == 0:
        return Fraction(0)
    precision, recall = Fraction(right, images), Fraction(right, right + mistaken)
    return 2 * precision * recall / (precision + recall)
