"""Losses of NCL, nested collaborative learning.

Li, Tan, Wan, Lei, Guo, "Nested Collaborative Learning for Long-Tailed Visual Recognition", CVPR
2022 (arXiv:2203.15359), sections 3.2 to 3.4, in the form of the authors' code.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.core.checks import check_labels, check_shape, check_value
from ltbench.core.distributed import global_mean
from ltbench.losses.counts import as_constant, class_sizes
from ltbench.losses.cross_entropy import cross_entropies
from ltbench.losses.distillation import mutual_distillation

EPSILON = 1e-9
"""Added to the student's probabilities in logarithms, as in the authors' code."""


def adjusted_logits(logits: Tensor, counts: Tensor) -> Tensor:
    """Return z + log n.

    Unlike balanced softmax, NCL needs the logarithm itself: it sets some of the sums to 0.

    Args:
        logits: [..., C].
        counts: [C], training images per class.

    Raises:
        ValueError: for a class without images.
    """
    check_shape("counts", counts, logits.shape[-1])
    return logits + as_constant(class_sizes(counts).log(), logits)


def hard_classes(logits: Tensor, labels: Tensor, number: int) -> Tensor:
    """Return each sample's class and the others with the largest logits.

    Args:
        logits: [B, C].
        labels: [B], int64.
        number: of classes in each row, the sample's class included.

    Returns:
        [B, C] bool.
    """
    check_labels(labels, logits.shape)
    classes = logits.shape[1]
    check_value("number", number, f"1 to {classes}", holds=1 <= number <= classes)
    own = F.one_hot(labels, classes).bool()
    largest = logits.detach().masked_fill(own, torch.inf).topk(number, dim=1).indices
    return torch.zeros_like(own).scatter(1, largest, value=True)


def collaborative_loss(
    logits: Tensor, labels: Tensor, strength: float, kept: Tensor | None = None
) -> dict[str, Tensor]:
    """Return the networks' cross-entropies and their mutual distillation.

        classes: sum_k CE(z_k);  distillation: lambda / (K - 1) sum_(i != j) KL(p_j || p_i)

    Args:
        logits: [K, B, C], of at least two networks.
        labels: [B], int64.
        strength: lambda.
        kept: [B, C] bool; the logits of other classes are set to 0, and count.
    """
    check_shape("logits", logits, "K", "B", "C")
    check_labels(labels, logits.shape[1:])
    networks = len(logits)
    check_value("networks", networks, "at least 2", holds=networks >= 2)
    if kept is not None:
        check_shape("kept", kept, *logits.shape[1:])
        logits = torch.where(kept, logits, 0)
    own = cross_entropies(logits.flatten(0, 1), labels.repeat(networks)).view(networks, -1)
    return {
        "classes": global_mean(own.sum(dim=0)),
        "distillation": strength / (networks - 1) * mutual_distillation(logits, EPSILON),
    }
