"""Class weights from class counts; with equal counts every one of them is exactly 1.

Each function takes counts [C], returns float64 weights [C], and raises ValueError for a class
without images.
"""

from torch import Tensor

from ltbench.losses.counts import class_sizes


def effective_number_weights(counts: Tensor, beta: float = 0.9999) -> Tensor:
    """Return weights proportional to (1 - beta) / (1 - beta^n), scaled to the sum C.

    The inverse "effective number of samples" of Cui et al., "Class-Balanced Loss Based on Effective
    Number of Samples", CVPR 2019 (arXiv:1901.05555).

    Args:
        counts: [C], training images a class.
        beta: in [0, 1); 0 weighs classes alike, towards 1 by their inverse frequency.
    """
    inverse = (1 - beta) / (1 - beta ** class_sizes(counts))
    relative = inverse / inverse.max()
    return relative * (len(relative) / relative.sum())


def inverse_weights(counts: Tensor) -> Tensor:
    """Return n_max / n: the inverse class prior, scaled so that the largest class weighs 1."""
    sizes = class_sizes(counts)
    return sizes.max() / sizes


def survey_weights(counts: Tensor) -> Tensor:
    """Return 1 + ln(n_max / n), the weighted softmax of the survey's released code.

    Zhang et al., "Deep Long-Tailed Learning: A Survey", TPAMI 2023 (arXiv:2110.04596).
    """
    return 1 + inverse_weights(counts).log()


def cost_sensitive_weights(counts: Tensor, gamma: float = 1.0) -> Tensor:
    """Return (n_min / n)^gamma, so that the smallest class weighs 1.

    Zhang et al., "Bag of Tricks for Long-Tailed Visual Recognition", AAAI 2021.
    """
    sizes = class_sizes(counts)
    return (sizes.min() / sizes) ** gamma
