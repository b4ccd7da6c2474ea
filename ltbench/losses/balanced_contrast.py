"""The balanced supervised contrastive loss.

Zhu, Wang, Chen, Chen, Jiang, "Balanced Contrastive Learning for Long-Tailed Visual Recognition",
CVPR 2022 (arXiv:2207.09052).
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_labels, check_shape
from ltbench.losses.contrast import contrast, other_samples


def balanced_contrast(
    similarities: Tensor, labels: Tensor, contrast_labels: Tensor, positions: Tensor, classes: int
) -> Tensor:
    """Return the contrastive loss with each class averaged in denominators.

    Positives are the other samples of the anchor's class. In the denominator a sample has weight
    1 / n, n the number of samples of its class in the contrast set without the anchor.

    Args:
        similarities: [A, M], of this rank's anchors to the contrast set, divided by the
            temperature.
        labels: [A], int64.
        contrast_labels: [M], int64.
        positions: [A], int64, of the anchors in the contrast set.
        classes: C.
    """
    check_labels(labels, (len(similarities), classes))
    check_shape("similarities", similarities, len(labels), len(contrast_labels))
    check_shape("contrast_labels", contrast_labels, "M")
    check_labels(positions, similarities.shape, "positions")
    similarities = at_least_float32(similarities)
    others, same = other_samples(similarities, labels, contrast_labels, positions)  # [A, M]
    sizes = F.one_hot(contrast_labels, classes).sum(dim=0)[contrast_labels]  # [M]
    return contrast(similarities, same, others / (sizes - same))
