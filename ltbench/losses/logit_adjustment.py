"""Logit adjustment, in the loss and after training.

Menon et al., "Long-tail learning via logit adjustment", ICLR 2021 (arXiv:2007.07314), equations 9
and 10. The authors' code adds 1e-12 inside the logarithm; so does this.
"""

from torch import Tensor

from ltbench.losses.counts import as_constant
from ltbench.losses.cross_entropy import cross_entropy
from ltbench.losses.log_prior import log_prior

EPSILON = 1e-12


def logit_adjustment(
    logits: Tensor, labels: Tensor, counts: Tensor, tau: float = 1.0, epsilon: float = EPSILON
) -> Tensor:
    """Return the cross-entropy of z + log(pi^tau + epsilon).

    Args:
        logits: [B, C].
        labels: [B], int64.
        counts: [C], training images a class.
        tau: strength; 1 makes the balanced error consistent.
        epsilon: added inside the logarithm.
    """
    return cross_entropy(logits + as_constant(log_prior(counts, tau, epsilon), logits), labels)


def posthoc_adjustment(
    logits: Tensor, counts: Tensor, tau: float = 1.0, epsilon: float = EPSILON
) -> Tensor:
    """Return z - log(pi^tau + epsilon) up to a constant, for logits [B, C] of a trained network.

    Args:
        logits: [B, C].
        counts: [C], training images a class.
        tau: strength.
        epsilon: added inside the logarithm.
    """
    return logits - as_constant(log_prior(counts, tau, epsilon), logits)
