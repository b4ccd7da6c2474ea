"""Prior re-balancing of a trained network's posterior (UNO-IC).

Tian, Liu, Glaser, Hsu, Kira, "Posterior Re-calibration for Imbalanced Datasets", NeurIPS 2020
(arXiv:2010.11820).
"""

from torch import Tensor

from ltbench.core.checks import check_shape, check_value, has_values
from ltbench.losses.counts import as_constant
from ltbench.losses.log_prior import log_prior


def prior_rebalancing(
    logits: Tensor, counts: Tensor, strength: float = 1.0, target_prior: Tensor | None = None
) -> Tensor:
    """Return the logits of a re-balanced posterior, up to a constant.

    The posterior is p^(1 - s) * r^s, with p the softmax of the logits, and r the posterior under
    the target prior, proportional to p / pi_train * pi_target. The authors choose the strength s on
    balanced validation data.

    Args:
        logits: [B, C], of a trained network.
        counts: [C], training images per class.
        strength: 0 for none, 1 for full re-balancing; may exceed 1 (lambda of the paper).
        target_prior: [C], class probabilities of the test set; uniform if None. On an
            accelerator their values are not checked.

    Raises:
        ValueError: for a class without images, or a target prior that is not one.
    """
    check_shape("counts", counts, logits.shape[-1])
    shift = -log_prior(counts)
    if target_prior is not None:
        check_shape("target_prior", target_prior, len(counts))
        if has_values(target_prior):
            holds = bool(target_prior.min() >= 0) and abs(float(target_prior.sum()) - 1) < 0.01
            check_value("target_prior", target_prior, "probabilities, with sum 1", holds=holds)
        shift = shift + target_prior.double().log()
    return logits + as_constant(strength * shift, logits)
