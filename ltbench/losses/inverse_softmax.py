"""Loss of an expert for inversely long-tailed test sets.

Zhang et al., "Self-Supervised Aggregation of Diverse Experts for Test-Agnostic Long-Tailed
Recognition", NeurIPS 2022 (arXiv:2107.09249), equation 4.
"""

from torch import Tensor

from ltbench.core.checks import check_shape
from ltbench.losses.counts import as_constant, check_counts
from ltbench.losses.cross_entropy import cross_entropy
from ltbench.losses.log_prior import log_prior


def inverse_counts(counts: Tensor) -> Tensor:
    """Return the inverse counts: the largest class gets the smallest.

    Args:
        counts: [C].

    Returns:
        [C], the same values in reversed order of the classes.
    """
    check_counts(counts, allow_empty=True)
    ascending, order = counts.sort(stable=True)
    inverse = counts.new_empty(counts.shape)
    inverse[order] = ascending.flip(0)
    return inverse


def inverse_softmax(
    logits: Tensor, labels: Tensor, counts: Tensor, tau: float = 2.0, epsilon: float = 0.0
) -> Tensor:
    """Return the cross-entropy adjusted to the inverse prior.

    Its logits are z + log pi - tau log pi', with pi' the inverse prior.

    Args:
        logits: [B, C].
        labels: [B], int64.
        counts: [C], training images per class.
        tau: strength; 0 gives balanced softmax.
        epsilon: added to each prior inside its logarithm, as in the authors' code.

    Raises:
        ValueError: for a class without images, unless epsilon is positive.
    """
    check_shape("counts", counts, logits.shape[-1])
    shift = log_prior(counts, epsilon=epsilon)
    shift = shift - tau * log_prior(inverse_counts(counts), epsilon=epsilon)
    return cross_entropy(logits + as_constant(shift, logits), labels)
