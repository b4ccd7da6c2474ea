"""The seesaw loss.

Wang et al., "Seesaw Loss for Long-Tailed Instance Segmentation", CVPR 2021 (arXiv:2008.10032).
"""

import math

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_labels, check_shape
from ltbench.losses.counts import as_constant, or_one
from ltbench.losses.cross_entropy import cross_entropy


def seesaw(
    logits: Tensor,
    labels: Tensor,
    seen: Tensor,
    p: float = 0.8,
    q: float = 2.0,
    epsilon: float = 0.01,
) -> Tensor:
    """Return the cross-entropy of z_j + log(M_yj K_yj).

        M_yj = min(1, N_j / N_y)^p, K_yj = max(1, s_j / max(s_y, epsilon))^q, s = softmax(z)

    M mitigates the negative gradients on classes with fewer images than the label's, K raises
    those on classes that the image is taken for. Both are constants for the gradient, and 1 for the
    label itself.

    Args:
        logits: [B, C].
        labels: [B], int64.
        seen: [C], images of each class so far (N); a class without images counts as one.
        p: strength of the mitigation; 0 for none.
        q: strength of the compensation; 0 for none.
        epsilon: least probability of the label in K.
    """
    check_labels(labels, logits.shape)
    check_shape("seen", seen, logits.shape[1])
    logits = at_least_float32(logits)
    log_seen = as_constant(or_one(seen).double().log(), logits)  # [C]
    mitigation = -F.relu(log_seen[labels].unsqueeze(1) - log_seen)  # log M / p, [B, C]
    log_scores = logits.detach().log_softmax(dim=1)
    at_label, least = log_scores.gather(1, labels.unsqueeze(1)), math.log(epsilon)
    at_label = torch.where(at_label > least, at_label, least)  # [B, 1]
    compensation = F.relu(log_scores - at_label)  # log K / q, [B, C]
    return cross_entropy(logits + p * mitigation + q * compensation, labels)
