"""Binary cross-entropy of one-vs-all sigmoids, the common part of sigmoid losses."""

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_labels, check_shape, check_some
from ltbench.core.distributed import global_mean
from ltbench.losses.counts import as_constant


def one_vs_all_targets(labels: Tensor, shape: Sequence[int]) -> Tensor:
    """Return whether each sample is of each class, bool [B, C].

    Args:
        labels: [B], int64.
        shape: that of the logits, B and C.
    """
    check_labels(labels, shape)
    return F.one_hot(labels, shape[1]).bool()


def binary(
    logits: Tensor,
    targets: Tensor,
    weights: Tensor | None = None,
    gamma: float = 0.0,
    *,
    sample_weights: Tensor | None = None,
) -> Tensor:
    """Return the mean over samples of the summed binary cross-entropies.

        v sum_c w_c (1 - p_c)^gamma (-log p_c)

    p_c is the probability of the right answer to "is it class c?": sigmoid(z_c) where it is,
    sigmoid(-z_c) where it is not.

    Args:
        logits: [B, C].
        targets: [B, C], bool, whether the sample is of the class; any number of a row may be.
        weights: w, broadcast to [B, C]; a gradient goes through them if they have one.
        gamma: focusing exponent, at least 0; 0 is cross-entropy.
        sample_weights: v [B]; the mean divides by the size of the batch.
    """
    check_shape("logits", logits, "B", "C")
    check_shape("targets", targets, *logits.shape)
    check_some("logits", len(logits))
    logits = at_least_float32(logits)
    signed = torch.where(targets, logits, -logits)  # [B, C]
    terms = F.logsigmoid(signed)
    if gamma:
        terms = (gamma * F.logsigmoid(-signed)).exp() * terms  # (1 - p)^gamma has a finite slope
    if weights is not None:
        terms = as_constant(weights, logits) * terms
    losses = -terms.sum(dim=1)  # [B]
    if sample_weights is not None:
        check_shape("sample_weights", sample_weights, len(logits))
        losses = as_constant(sample_weights, logits) * losses
    return global_mean(losses)
