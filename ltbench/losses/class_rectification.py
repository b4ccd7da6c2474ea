"""The class rectification loss: triplets of probabilities around a batch's minority classes.

Dong, Gong, Zhu, "Class Rectification Hard Mining for Imbalanced Deep Learning", ICCV 2017
(arXiv:1712.03162), and "Imbalanced Deep Learning by Minority Class Incremental Rectification",
TPAMI 2019 (arXiv:1804.10851).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_labels, check_shape, check_value
from ltbench.losses.counts import check_counts, class_sizes, or_one
from ltbench.losses.triplets import largest, minority_classes


def class_imbalance(counts: Tensor) -> Tensor:
    """Return the imbalance of a training set.

    It is the share of images that the set lacks to be balanced, 1 - sum n / (C n_max): 0 for equal
    counts.

    Args:
        counts: [C], training images per class.
    """
    sizes = class_sizes(counts)
    balanced = len(sizes) * sizes.max()
    return (balanced - sizes.sum()) / balanced


def class_rectification(
    probabilities: Tensor,
    labels: Tensor,
    counts: Tensor,
    margin: float = 0.5,
    *,
    hardest: int = 5,
) -> Tensor:
    """Return the mean hinge of the triplets of a global batch.

        max(0, m + |p_a - p_+| - (p_a - p_-)), p the probability of the anchor's class

    Anchors are the images of minority classes. The positives of an anchor are the other images of
    its class with the smallest p, its negatives the images of other classes with the largest. A
    batch without triplets has the loss 0.

    Args:
        probabilities: [N, C] of all ranks.
        labels: [N], int64.
        counts: [C], training images per class: of classes with equally many images in the batch
            those with the fewest are minorities first.
        margin: by which p of a positive has to exceed that of a negative (m).
        hardest: positives and negatives of an anchor, at most (kappa).
    """
    check_shape("probabilities", probabilities, "N", "C")
    check_labels(labels, probabilities.shape)
    check_counts(counts)
    size, classes = probabilities.shape
    check_shape("counts", counts, classes)
    check_value("margin", margin, "at least 0", holds=margin >= 0)
    check_value("hardest", hardest, "at least 1", holds=hardest >= 1)
    of_class = at_least_float32(probabilities)[:, labels].T  # [N, N], a row per anchor
    own = labels[:, None] == labels
    minority = minority_classes(F.one_hot(labels, classes).sum(dim=0), size, counts)
    others = own & ~torch.eye(size, dtype=torch.bool, device=labels.device)
    k, scores = min(hardest, size), of_class.detach()
    positives, has_positive = largest(-scores, others, k)  # [N, k]
    negatives, has_negative = largest(scores, ~own, k)
    anchors = of_class.diagonal()[:, None]
    to_positive = (anchors - of_class.gather(1, positives)).abs()
    to_negative = anchors - of_class.gather(1, negatives)
    hinges = F.relu(margin + to_positive[:, :, None] - to_negative[:, None, :])  # [N, k, k]
    counted = has_positive[:, :, None] & has_negative[:, None, :]
    counted = counted & minority[labels][:, None, None]
    return torch.where(counted, hinges, 0).sum() / or_one(counted.sum())
