"""The parametric contrastive loss.

Cui, Zhong, Liu, Yu, Jia, "Parametric Contrastive Learning", ICCV 2021 (arXiv:2107.12028); with
smoothed classes Cui et al., "Generalized Parametric Contrastive Learning", TPAMI 2023
(arXiv:2209.12400).
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.core.checks import check_labels, check_shape
from ltbench.losses.contrast import contrast, other_samples
from ltbench.losses.counts import as_constant, class_sizes


def paco(
    logits: Tensor,
    labels: Tensor,
    similarities: Tensor,
    contrast_labels: Tensor,
    positions: Tensor,
    counts: Tensor,
    *,
    alpha: float,
    beta: float = 1.0,
    gamma: float = 1.0,
    smoothing: float = 0.0,
) -> Tensor:
    """Return the mean over anchors of their positives' mean -log p.

    p is one softmax over classes, with logits z + log(pi + 1e-9), and samples of the contrast set.
    Positives are the anchor's class, with weight beta, and other samples of the class in the
    contrast set, with weight alpha. The prior is not centered: a constant would change the classes'
    weight against the samples.

    Args:
        logits: [B, C].
        labels: [B], int64.
        similarities: [B, M], of the anchors to the contrast set, divided by the temperature.
        contrast_labels: [M], int64.
        positions: [B], int64, of the anchors in the contrast set; an anchor is left out of its own.
        counts: [C], training images per class.
        alpha: weight of a positive sample.
        beta: weight of the class.
        gamma: weight of the contrast set in the denominator.
        smoothing: share of the class's weight that the other classes get, in equal parts.
    """
    check_labels(labels, logits.shape)
    check_shape("counts", counts, logits.shape[1])
    check_shape("similarities", similarities, len(labels), len(contrast_labels))
    check_shape("contrast_labels", contrast_labels, "M")
    check_labels(positions, similarities.shape, "positions")
    sizes = class_sizes(counts, allow_empty=True)
    prior = sizes / sizes.sum()
    classes = logits + as_constant((prior + 1e-9).log(), logits)  # [B, C]
    others, same = other_samples(similarities, labels, contrast_labels, positions)  # [B, M]
    one_hot = F.one_hot(labels, len(counts)).to(similarities.dtype)
    if smoothing:
        one_hot = one_hot * (1 - smoothing) + (1 - one_hot) * smoothing / (len(counts) - 1)

    scores = torch.cat([classes, similarities], dim=1)  # [B, C + M]
    counted = torch.cat([torch.ones_like(classes), gamma * others], dim=1)
    return contrast(scores, torch.cat([beta * one_hot, alpha * same], dim=1), counted)
