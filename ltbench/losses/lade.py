"""LADER, the regularizer of label distribution disentangling.

Hong et al., "Disentangling Label Distribution for Long-tailed Visual Recognition", CVPR 2021
(arXiv:2012.00321), in the form of the authors' code.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_labels, check_shape
from ltbench.core.distributed import all_sum, gather, world_size
from ltbench.losses.counts import as_constant, class_sizes

PRIOR_EPSILON = 1e-9
COUNT_EPSILON = 1e-8


def lader(logits: Tensor, labels: Tensor, counts: Tensor, penalty: float = 0.1) -> Tensor:
    """Return LADE's regularizer over the global batch.

        -sum_c pi_c (A_c - B_c - penalty * B_c^2)

    A_c is the mean logit z_c of the samples of class c, zero without samples; B_c the logarithm of
    the mean of exp(z_c) over all samples, weighted by (1 / C) / pi_c.

    Args:
        logits: [B, C].
        labels: [B], int64.
        counts: [C], training images per class.
        penalty: strength of the regularized Donsker-Varadhan term (lambda of the paper).

    Raises:
        ValueError: for a class without images.
    """
    check_labels(labels, logits.shape)
    check_shape("counts", counts, logits.shape[1])
    logits = at_least_float32(logits)
    sizes = class_sizes(counts)
    prior = sizes / sizes.sum()
    weights = (1 / len(counts) + PRIOR_EPSILON) / (prior + PRIOR_EPSILON)  # [C]

    own = F.one_hot(labels, len(counts)).to(logits.dtype)  # [B, C]
    images = all_sum(own.sum(dim=0))  # [C]
    mean_logit = _global_sum((own * logits).sum(dim=0)) / (images + COUNT_EPSILON)  # A
    peak = gather(logits.amax(dim=0, keepdim=True)).amax(dim=0)  # [C], against overflow of exp
    mean_exp = _global_sum((logits - peak).exp().sum(dim=0)) / images.sum()
    log_mean = peak + mean_exp.log() + as_constant(weights.log(), logits)  # B
    terms = mean_logit - log_mean - penalty * log_mean**2
    return -(as_constant(prior, logits) * terms).sum()


def _global_sum(local: Tensor) -> Tensor:
    """Return the sum over ranks, with W times its gradient.

    DDP's average over the W ranks then gives the gradient of the sum.
    """
    scaled = world_size() * local
    return all_sum(local.detach()) + (scaled - scaled.detach())
