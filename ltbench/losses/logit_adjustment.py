"""Logit adjustment, in the loss and after training.

Menon et al., "Long-tail learning via logit adjustment", ICLR 2021 (arXiv:2007.07314), equations 9
and 10. The authors' code adds 1e-12 inside the logarithm; so does ours.
"""

from torch import Tensor

from ltbench.core.checks import check_shape
from ltbench.losses.counts import as_constant
from ltbench.losses.log_prior import log_prior
from ltbench.losses.vector_scaling import vector_scaling

EPSILON = 1e-12


def logit_adjustment(
    logits: Tensor, labels: Tensor, counts: Tensor, tau: float = 1.0, epsilon: float = EPSILON
) -> Tensor:
    """Return the cross-entropy of z + log(pi^tau + epsilon).

    Args:
        logits: [B, C].
        labels: [B], int64.
        counts: [C], training images per class.
        tau: strength; with 1 the loss is consistent for the balanced error.
        epsilon: added inside the logarithm.
    """
    check_shape("counts", counts, logits.shape[-1])
    return vector_scaling(logits, labels, offsets=log_prior(counts, tau, epsilon))


def posthoc_adjustment(
    logits: Tensor, counts: Tensor, tau: float = 1.0, epsilon: float = EPSILON
) -> Tensor:
    """Return z - log(pi^tau + epsilon), up to a constant.

    Args:
        logits: [B, C], of a trained network.
        counts: [C], training images per class.
        tau: strength.
        epsilon: added inside the logarithm.
    """
    check_shape("counts", counts, logits.shape[-1])
    return logits - as_constant(log_prior(counts, tau, epsilon), logits)
