"""Class probabilities of samplers that draw a class, then an image.

Each function takes the training images per class [C] and returns float64 probabilities [C] with sum
1. A class without images has probability 0.
"""

import torch
from torch import Tensor

from ltbench.core.checks import check_value
from ltbench.losses.counts import class_sizes


def power(counts: Tensor, exponent: float) -> Tensor:
    """Return `p_c` proportional to `n_c^q` (Kang et al. 2020, equation 1)."""
    return _normalized(class_sizes(counts, allow_empty=True) ** exponent, counts)


def instance(counts: Tensor) -> Tensor:
    """Return `p_c = n_c / N`: instance-balanced sampling."""
    return power(counts, 1)


def square_root(counts: Tensor) -> Tensor:
    """Return `p_c` proportional to `n_c^(1/2)`: square-root sampling."""
    return power(counts, 0.5)


def class_balanced(counts: Tensor) -> Tensor:
    """Return `p_c = 1 / C`: class-balanced sampling."""
    return power(counts, 0)


def reversed_frequency(counts: Tensor) -> Tensor:
    """Return `p_c` proportional to `1 / n_c` (BBN, Zhou et al. 2020)."""
    return power(counts, -1)


def progressive(counts: Tensor, t: float) -> Tensor:
    """Return the probabilities of progressively-balanced sampling.

    `p_c = t / C + (1 - t) n_c / N`: Kang et al. 2020, equation 2.

    Args:
        counts: [C] training images per class.
        t: progress, from 0 (instance-balanced) to 1 (class-balanced).
    """
    check_value("t", t, "0 to 1", holds=0 <= t <= 1)
    return t * class_balanced(counts) + (1 - t) * instance(counts)


def effective_number(counts: Tensor, beta: float = 0.9999) -> Tensor:
    """Return `p_c` proportional to `n_c / (1 - beta^n_c)`: effective-number sampling.

    The re-sampling in the code of LDAM (Cao et al. 2019). Nearly class-balanced if `n_c` is small
    compared with `1 / (1 - beta)`.
    """
    check_value("beta", beta, "0 <= beta < 1", holds=0 <= beta < 1)
    n = class_sizes(counts, allow_empty=True)
    return _normalized(n / (1 - beta**n), counts)


def _normalized(weights: Tensor, counts: Tensor) -> Tensor:
    weights = torch.where(counts > 0, weights, 0.0)
    return weights / weights.sum()
