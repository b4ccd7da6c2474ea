"""Class probabilities of samplers that first draw a class, then one of its images uniformly.

Each function takes the training images of each class [C] and returns float64 probabilities [C] that
sum to one. A class without images is never drawn.
"""

import torch
from torch import Tensor


def power(counts: Tensor, exponent: float) -> Tensor:
    """Return `p_c = n_c^q / sum_k n_k^q` over the classes with images (Kang et al. 2020, eq. 1)."""
    return _normalized(counts.double() ** exponent, counts)


def instance(counts: Tensor) -> Tensor:
    """Every image alike: `p_c = n_c / N`."""
    return power(counts, 1)


def square_root(counts: Tensor) -> Tensor:
    """Square-root sampling: `p_c` proportional to `n_c^(1/2)`."""
    return power(counts, 0.5)


def class_balanced(counts: Tensor) -> Tensor:
    """Every class alike: `p_c = 1 / C`."""
    return power(counts, 0)


def reversed_frequency(counts: Tensor) -> Tensor:
    """The reversed sampler of BBN (Zhou et al. 2020): `p_c` proportional to `1 / n_c`."""
    return power(counts, -1)


def progressive(counts: Tensor, t: float) -> Tensor:
    """Progressively-balanced sampling (Kang et al. 2020, eq. 2): `t / C + (1 - t) n_c / N`.

    Args:
        counts: [C] training images of each class.
        t: progress, from 0 (every image alike) to 1 (every class alike).
    """
    return t * class_balanced(counts) + (1 - t) * instance(counts)


def effective_number(counts: Tensor, beta: float = 0.9999) -> Tensor:
    """Deferred re-sampling of LDAM (Cao et al. 2019): images weigh `1 / (1 - beta^n_c)`.

    So `p_c` is proportional to `n_c / (1 - beta^n_c)`: nearly class-balanced while `n_c` is small
    against `1 / (1 - beta)`.
    """
    n = counts.double()
    return _normalized(n / (1 - beta**n), counts)


def _normalized(weights: Tensor, counts: Tensor) -> Tensor:
    weights = torch.where(counts > 0, weights, 0.0)
    return weights / weights.sum()
