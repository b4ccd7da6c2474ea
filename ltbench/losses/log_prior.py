"""The logarithm of the class prior, centered."""

from torch import Tensor

from ltbench.core.checks import check_value
from ltbench.losses.counts import class_sizes


def log_prior(counts: Tensor, tau: float = 1.0, epsilon: float = 0.0) -> Tensor:
    """Return the logarithm of the class prior, minus its maximum.

        log(pi^tau + epsilon) - max, with pi = n / sum(n)

    A constant has no effect in softmax. Without it equal counts give exactly zero, so that adjusted
    losses are then cross-entropy bit for bit.

    Args:
        counts: [C], training images per class.
        tau: strength.
        epsilon: added inside the logarithm, as some authors' code does.

    Returns:
        [C] float64, at most 0.

    Raises:
        ValueError: for a class without images, unless epsilon is positive.
    """
    check_value("epsilon", epsilon, "at least 0", holds=epsilon >= 0)
    sizes = class_sizes(counts, allow_empty=epsilon > 0)
    largest = sizes.max()
    peak = largest / sizes.sum()
    prior = (sizes / largest) ** tau + epsilon / peak**tau
    return (prior / prior.max()).log()
