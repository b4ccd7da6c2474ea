"""Equalization losses, of softmax and of one-vs-all sigmoids.

Tan et al., "Equalization Loss for Long-Tailed Object Recognition", CVPR 2020 (arXiv:2003.05176).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.core.checks import check_labels, check_shape
from ltbench.losses.binary import binary, one_vs_all_targets
from ltbench.losses.counts import class_sizes
from ltbench.losses.cross_entropy import cross_entropy


def equalization(
    logits: Tensor,
    labels: Tensor,
    counts: Tensor,
    uniform: Tensor,
    gamma: float = 0.9,
    threshold: float = 4.3e-4,
) -> Tensor:
    """Return the cross-entropy without most negative gradients on tail classes.

    A class k is left out of a sample's softmax if it is not the label, its share of the training
    images is at most `threshold`, and the sample's random number for it is at most `gamma`.

    Args:
        logits: [B, C].
        labels: [B], int64.
        counts: [C], training images per class.
        uniform: [B, C], random numbers in [0, 1).
        gamma: probability of being left out.
        threshold: largest share of the images of a tail class (lambda of the paper).

    Raises:
        ValueError: for a class without images.
    """
    check_labels(labels, logits.shape)
    check_shape("counts", counts, logits.shape[1])
    check_shape("uniform", uniform, *logits.shape)
    sizes = class_sizes(counts)
    tail = sizes / sizes.sum() <= threshold  # [C]
    left_out = (uniform <= gamma) & tail & ~F.one_hot(labels, len(counts)).bool()  # [B, C]
    return cross_entropy(logits.masked_fill(left_out, -torch.inf), labels)


def sigmoid_equalization(
    logits: Tensor,
    labels: Tensor,
    counts: Tensor,
    uniform: Tensor,
    gamma: float = 0.9,
    threshold: float = 4.3e-4,
) -> Tensor:
    """Return the binary cross-entropy without most negative gradients on tail classes.

    A class is left out of a sample's sum as in `equalization`, but a tail class has a share of the
    training images below `threshold`, as in the authors' code.

    Args:
        logits: [B, C].
        labels: [B], int64.
        counts: [C], training images per class.
        uniform: [B, C], random numbers in [0, 1).
        gamma: probability of being left out; 1 is the authors' loss for objects.
        threshold: smallest share of the images of a class that is not tail.

    Raises:
        ValueError: for a class without images.
    """
    targets = one_vs_all_targets(labels, logits.shape)
    check_shape("counts", counts, logits.shape[1])
    check_shape("uniform", uniform, *logits.shape)
    sizes = class_sizes(counts)
    tail = sizes / sizes.sum() < threshold  # [C]
    return binary(logits, targets, ~((uniform <= gamma) & tail & ~targets))
