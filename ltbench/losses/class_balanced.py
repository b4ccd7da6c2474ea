"""The class-balanced loss.

Cui, Jia, Lin, Song, Belongie, "Class-Balanced Loss Based on Effective Number of Samples", CVPR 2019
(arXiv:1901.05555), section 4.
"""

from typing import Literal

from torch import Tensor

from ltbench.core.checks import check_choice, check_shape
from ltbench.core.distributed import global_mean
from ltbench.losses.class_weights import effective_number_weights
from ltbench.losses.counts import as_constant
from ltbench.losses.cross_entropy import cross_entropies
from ltbench.losses.focal import sigmoid_focal

ClassBalancedForm = Literal["softmax", "sigmoid", "focal"]


def class_balanced(
    logits: Tensor,
    labels: Tensor,
    counts: Tensor,
    beta: float = 0.9999,
    form: ClassBalancedForm = "softmax",
    gamma: float = 1.0,
) -> Tensor:
    """Return the mean loss with effective-number class weights.

    It divides by the batch size, not by the sum of weights.

    Args:
        logits: [B, C].
        labels: [B], int64.
        counts: [C], training images per class.
        beta: in [0, 1), see `effective_number_weights`.
        form: the weighted loss: cross-entropy, or binary cross-entropy or focal loss per class.
        gamma: focusing exponent of the focal form.

    Raises:
        ValueError: for a class without images.
    """
    check_shape("counts", counts, logits.shape[-1])
    check_choice("form", form, ClassBalancedForm)
    weights = effective_number_weights(counts, beta)
    if form == "softmax":
        losses = cross_entropies(logits, labels)
        return global_mean(as_constant(weights, logits)[labels] * losses)
    return sigmoid_focal(logits, labels, gamma if form == "focal" else 0.0, weights)
