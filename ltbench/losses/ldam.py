"""The label-distribution-aware margin loss.

Cao et al., "Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss", NeurIPS 2019
(arXiv:1906.07413). The scale multiplies the cosines after the margin is subtracted, inside the
loss: the input is a plain cosine, not a scaled one.
"""

from torch import Tensor

from ltbench.core.checks import check_shape
from ltbench.losses.counts import class_sizes
from ltbench.losses.vector_scaling import vector_scaling

SCALE = 30.0
"""Inverse temperature of the authors (s)."""


def ldam_margins(counts: Tensor, max_margin: float = 0.5) -> Tensor:
    """Return class margins proportional to n^(-1/4).

    Args:
        counts: [C], training images per class.
        max_margin: margin of the smallest class, on cosines.

    Returns:
        [C] float64.

    Raises:
        ValueError: for a class without images.
    """
    sizes = class_sizes(counts)
    return max_margin * (sizes.min() / sizes) ** 0.25


def ldam(
    cosines: Tensor,
    labels: Tensor,
    counts: Tensor,
    max_margin: float = 0.5,
    scale: float = SCALE,
    weights: Tensor | None = None,
) -> Tensor:
    """Return the (weighted) cross-entropy with class margins.

    Logits are scale * z, at the label scale * (z - margin).

    Args:
        cosines: [B, C], of a classifier with normalized weights and features.
        labels: [B], int64.
        counts: [C], training images per class.
        max_margin: margin of the smallest class.
        scale: inverse temperature.
        weights: [C], of the classes.

    Raises:
        ValueError: for a class without images.
    """
    check_shape("counts", counts, cosines.shape[-1])
    margins = ldam_margins(counts, max_margin)
    return vector_scaling(cosines, labels, margins=margins, scale=scale, weights=weights)
