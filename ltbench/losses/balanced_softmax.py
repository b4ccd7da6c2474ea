"""Balanced softmax.

Ren et al., "Balanced Meta-Softmax for Long-Tailed Visual Recognition", NeurIPS 2020
(arXiv:2007.10740), theorem 1.
"""

from torch import Tensor

from ltbench.core.checks import check_shape
from ltbench.losses.counts import as_constant
from ltbench.losses.cross_entropy import cross_entropy
from ltbench.losses.log_prior import log_prior


def balanced_softmax(logits: Tensor, labels: Tensor, counts: Tensor) -> Tensor:
    """Return the cross-entropy of z + log n.

    Its probabilities are proportional to n_c exp(z_c).

    Args:
        logits: [B, C].
        labels: [B], int64.
        counts: [C], training images per class.

    Raises:
        ValueError: for a class without images.
    """
    check_shape("counts", counts, logits.shape[-1])
    return cross_entropy(logits + as_constant(log_prior(counts), logits), labels)
