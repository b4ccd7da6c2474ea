"""RoBal's loss: margins and offsets by class on cosines.

Wu, Liu, Huang, Wang, Lin, "Adversarial Robustness under Long-Tailed Distribution", CVPR 2021
(arXiv:2104.02703).
"""

from torch import Tensor

from ltbench.core.checks import check_shape
from ltbench.losses.counts import class_sizes
from ltbench.losses.log_prior import log_prior
from ltbench.losses.vector_scaling import vector_scaling


def robal_margins(
    counts: Tensor, margin: float = 0.1, tau_margin: float = 0.3, scale: float = 10.0
) -> Tensor:
    """Return class margins that grow with the logarithm of class size.

        margin + tau_margin / scale * log(n / n_min)

    Args:
        counts: [C], training images per class.
        margin: that of the smallest class, on cosines.
        tau_margin: strength of the growth.
        scale: inverse temperature of the loss.

    Returns:
        [C] float64.

    Raises:
        ValueError: for a class without images.
    """
    sizes = class_sizes(counts)
    return margin + tau_margin / scale * (sizes / sizes.min()).log()


def robal(
    cosines: Tensor,
    labels: Tensor,
    counts: Tensor,
    margin: float = 0.1,
    tau_margin: float = 0.3,
    tau_bias: float = 1.5,
    scale: float = 10.0,
) -> Tensor:
    """Return the cross-entropy of cosines with margins and log priors.

    Logits are scale * (z_c - margin_c [c = y]) + tau_bias log pi_c.

    Args:
        cosines: [B, C], of a classifier with normalized weights and features.
        labels: [B], int64.
        counts: [C], training images per class.
        margin: that of the smallest class.
        tau_margin: growth of the margins with class size, see `robal_margins`.
        tau_bias: strength of the log prior.
        scale: inverse temperature.

    Raises:
        ValueError: for a class without images.
    """
    check_shape("counts", counts, cosines.shape[-1])
    margins = robal_margins(counts, margin, tau_margin, scale)
    offsets = log_prior(counts, tau_bias)
    return vector_scaling(cosines, labels, margins=margins, scale=scale, offsets=offsets)
