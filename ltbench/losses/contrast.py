"""Contrast of anchors with positive and other samples, by one softmax.

Supervised and self-supervised contrastive losses differ in which samples are positive, which are
counted in the denominator and what the sum over positives is divided by: Khosla et al.,
"Supervised Contrastive Learning", NeurIPS 2020 (arXiv:2004.11362), equation (2), and its kin.
"""

import torch
from torch import Tensor

from ltbench.core.autocast import at_least_float32, no_autocast
from ltbench.core.checks import check_shape, check_some
from ltbench.core.distributed import global_mean
from ltbench.losses.counts import or_one


def similarities(anchors: Tensor, samples: Tensor, temperature: float) -> Tensor:
    """Return inner products over a temperature, in at least float32.

    Also under autocast: bfloat16 has three digits, and a low temperature magnifies their error.

    Args:
        anchors: [A, D].
        samples: [M, D].
        temperature: T.

    Returns:
        [A, M].
    """
    anchors, samples = at_least_float32(anchors), at_least_float32(samples)
    with no_autocast(anchors):
        return anchors @ samples.T / temperature


def other_samples(
    scores: Tensor, labels: Tensor, sample_labels: Tensor, positions: Tensor
) -> tuple[Tensor, Tensor]:
    """Return masks of other samples, and of those of the anchor's class.

    Args:
        scores: [A, M], of anchors with samples.
        labels: [A], of the anchors.
        sample_labels: [M].
        positions: [A] int64, of the anchors among the samples.

    Returns:
        [A, M] each, 1 or 0 in the precision of the scores.
    """
    others = torch.ones_like(scores).scatter(1, positions[:, None], 0.0)
    return others, others * (labels[:, None] == sample_labels)


def contrast(
    scores: Tensor,
    positives: Tensor,
    counted: Tensor | None = None,
    normalizer: Tensor | None = None,
) -> Tensor:
    """Return the mean over anchors of their positives' mean -log p.

        -sum_j positives_j (s_j - log sum_k counted_k exp(s_k)) / normalizer

    An anchor without positives, or with nothing counted, has loss 0. Gradients flow through the
    scores alone.

    Args:
        scores: [A, M], of this rank's anchors with M samples or classes, divided by the
            temperature.
        positives: [A, M], each sample's weight as a positive of the anchor, or a mask.
        counted: [A, M], weights of 0 or more in the denominator, or a mask; without it all are 1.
        normalizer: [A]; without it the sum of the anchor's weights of positives.
    """
    check_shape("scores", scores, "A", "M")
    check_some("scores", len(scores))
    check_shape("positives", positives, *scores.shape)
    scores = at_least_float32(scores)
    weights, inside = positives.detach().to(scores.dtype), scores
    if counted is not None:
        check_shape("counted", counted, *scores.shape)
        shares = counted.detach().to(scores.dtype)
        empty = shares.sum(dim=1, keepdim=True) == 0
        inside = scores + torch.where(empty, 0, shares.log())  # a softmax of -inf alone is NaN
        weights = weights.masked_fill(empty, 0)
    if normalizer is None:
        normalizer = or_one(weights.sum(dim=1))
    check_shape("normalizer", normalizer, len(scores))
    log_p = scores - inside.logsumexp(dim=1, keepdim=True)
    return -global_mean((weights * log_p).sum(dim=1) / normalizer.detach())
