"""The logarithm of the class prior, centred."""

from torch import Tensor

from ltbench.losses.counts import class_sizes


def log_prior(counts: Tensor, tau: float = 1.0, epsilon: float = 0.0) -> Tensor:
    """Return log(pi^tau + epsilon) minus its maximum, with pi = n / sum(n).

    Softmax does not see the constant that is taken off. Without it equal counts give exactly zero,
    so that adjusted losses are then cross-entropy bit for bit.

    Args:
        counts: [C], training images a class.
        tau: strength.
        epsilon: what the authors' code adds inside the logarithm; 0 where it adds nothing.

    Returns:
        [C] float64, at most 0.

    Raises:
        ValueError: for a class without images, unless epsilon keeps its logarithm finite.
    """
    sizes = counts.double() if epsilon else class_sizes(counts)
    peak = sizes.max() / sizes.sum()
    prior = (sizes / sizes.max()) ** tau + epsilon / peak**tau
    return (prior / prior.max()).log()
