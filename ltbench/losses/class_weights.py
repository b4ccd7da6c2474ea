"""Class weights from class counts.

Each function of counts [C] returns float64 weights [C], exactly 1 with equal counts, and raises
ValueError for a class without images.
"""

from torch import Tensor

from ltbench.core.checks import check_value
from ltbench.losses.counts import class_sizes


def effective_number_weights(counts: Tensor, beta: float = 0.9999) -> Tensor:
    """Return inverse effective numbers of images, with the sum C.

    Proportional to (1 - beta) / (1 - beta^n): Cui et al., "Class-Balanced Loss Based on Effective
    Number of Samples", CVPR 2019 (arXiv:1901.05555).

    Args:
        counts: [C], training images per class.
        beta: in [0, 1); 0 gives equal weights, towards 1 they are the inverse class frequencies.
    """
    check_value("beta", beta, "0 <= beta < 1", holds=0 <= beta < 1)
    return scaled_to_classes((1 - beta) / (1 - beta ** class_sizes(counts)))


def inverse_weights(counts: Tensor) -> Tensor:
    """Return the inverse class prior, n_max / n."""
    sizes = class_sizes(counts)
    return sizes.max() / sizes


def scaled_to_classes(weights: Tensor) -> Tensor:
    """Return positive weights [C], scaled to the sum C."""
    relative = weights / weights.max()
    return relative * (len(relative) / relative.sum())


def survey_weights(counts: Tensor) -> Tensor:
    """Return 1 + ln(n_max / n), as in the survey's code.

    Zhang et al., "Deep Long-Tailed Learning: A Survey", TPAMI 2023 (arXiv:2110.04596).
    """
    return 1 + inverse_weights(counts).log()


def cost_sensitive_weights(counts: Tensor, gamma: float = 1.0) -> Tensor:
    """Return (n_min / n)^gamma; the smallest class has 1.

    Zhang et al., "Bag of Tricks for Long-Tailed Visual Recognition", AAAI 2021.
    """
    sizes = class_sizes(counts)
    return (sizes.min() / sizes) ** gamma
