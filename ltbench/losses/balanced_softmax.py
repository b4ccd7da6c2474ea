"""Balanced softmax.

Ren et al., "Balanced Meta-Softmax for Long-Tailed Visual Recognition", NeurIPS 2020
(arXiv:2007.10740), theorem 1.
"""

from torch import Tensor

from ltbench.core.checks import check_shape
from ltbench.losses.log_prior import log_prior
from ltbench.losses.vector_scaling import vector_scaling


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
    return vector_scaling(logits, labels, offsets=log_prior(counts))
