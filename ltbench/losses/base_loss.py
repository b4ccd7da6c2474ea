"""The loss inside another method: which loss is mixed, augmented or distilled."""

from typing import Literal

from torch import Tensor

from ltbench.losses.balanced_softmax import balanced_softmax
from ltbench.losses.class_weights import effective_number_weights
from ltbench.losses.cross_entropy import cross_entropy
from ltbench.losses.ldam import SCALE, ldam

BaseLoss = Literal["softmax", "drw", "balanced_softmax", "ldam"]
"""Cross-entropy, the same with deferred class weights, balanced softmax, and LDAM-DRW."""


def base_loss(
    name: BaseLoss, logits: Tensor, labels: Tensor, counts: Tensor, *, deferred: bool
) -> Tensor:
    """Return the mean loss of a name, with its method's defaults.

    Args:
        name: of the loss.
        logits: [B, C]; for "ldam" cosines times `SCALE`, as of `classifiers.classifier_for`.
        labels: [B], int64.
        counts: [C], training images per class.
        deferred: whether "drw" and "ldam" weigh the classes by their effective numbers.

    Raises:
        ValueError: for a class without images.
    """
    if name == "softmax":
        return cross_entropy(logits, labels)
    if name == "balanced_softmax":
        return balanced_softmax(logits, labels, counts)
    weights = effective_number_weights(counts) if deferred else None
    if name == "drw":
        return cross_entropy(logits, labels, weights)
    return ldam(logits / SCALE, labels, counts, weights=weights)
