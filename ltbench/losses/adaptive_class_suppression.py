"""Adaptive class suppression: negatives count where the classifier is wrong.

Wang, Zhu, Zhao, Zeng, Wang, Tang, "Adaptive Class Suppression Loss for Long-Tail Object Detection",
CVPR 2021 (arXiv:2104.00885).
"""

from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.losses.binary import binary, one_vs_all_targets


def adaptive_class_suppression(logits: Tensor, labels: Tensor, threshold: float = 0.7) -> Tensor:
    """Return the mean binary cross-entropy of labels and of their confusions.

    A class that is not the label counts only if its probability, sigmoid(z), is at least
    `threshold`.

    Args:
        logits: [B, C].
        labels: [B], int64.
        threshold: of the probabilities (xi of the paper).
    """
    targets = one_vs_all_targets(labels, logits.shape)
    mistaken = at_least_float32(logits).detach().sigmoid() >= threshold
    return binary(logits, targets, targets | mistaken)
