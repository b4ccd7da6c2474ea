"""Prior re-balancing of a trained network's posterior (UNO-IC).

Tian, Liu, Glaser, Hsu, Kira, "Posterior Re-calibration for Imbalanced Datasets", NeurIPS 2020
(arXiv:2010.11820).
"""

from torch import Tensor

from ltbench.losses.counts import as_constant
from ltbench.losses.log_prior import log_prior


def prior_rebalancing(
    logits: Tensor, counts: Tensor, strength: float = 1.0, target_prior: Tensor | None = None
) -> Tensor:
    """Return the logits of p^(1 - s) * r^s, up to a constant.

    p is the softmax of the logits and r, proportional to p / pi_train * pi_target, its correction
    to the target prior. The authors choose the strength s on balanced validation data.

    Args:
        logits: [B, C] of a trained network.
        counts: [C], training images a class.
        strength: of the correction: 0 none, 1 full, more is allowed (lambda of the paper).
        target_prior: [C], class probabilities of the test set, uniform where None.

    Raises:
        ValueError: for a class without images.
    """
    shift = -log_prior(counts)
    if target_prior is not None:
        shift = shift + target_prior.double().log()
    return logits + as_constant(strength * shift, logits)
