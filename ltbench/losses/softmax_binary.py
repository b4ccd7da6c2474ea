"""Binary cross-entropy of softmax probabilities, with class weights.

The "softmax" form of a widely used port of the class-balanced loss (Cui et al., CVPR 2019), with
which Alshammari et al. train classifiers: "Long-Tailed Recognition via Weight Balancing", CVPR 2022
(arXiv:2203.14197).
"""

import torch
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_shape, check_value
from ltbench.core.distributed import global_mean
from ltbench.losses.binary import one_vs_all_targets
from ltbench.losses.counts import as_constant

LARGEST = 100.0
"""Largest term: torch's binary cross-entropy bounds logarithms at -100."""


def softmax_binary(logits: Tensor, labels: Tensor, weights: Tensor, floor: float = 1e-12) -> Tensor:
    """Return the mean over samples and classes of weighted binary cross-entropies.

        w_y / C (-log p_y - sum_(c != y) log(1 - p_c)), p the softmax of the logits

    Unlike in cross-entropy, each 1 - p_c is pushed too, and the loss is a C-th as large.

    Torch's binary cross-entropy divides its gradient with respect to p by p (1 - p), or by 1e-12
    where that is less. What the label's class has lost by 1e12 gets almost no gradient any more.

    Args:
        logits: [B, C], of two classes at least.
        labels: [B], int64.
        weights: [C], of the samples' classes.
        floor: the least that the gradient divides by; 0 is the exact gradient.
    """
    own = one_vs_all_targets(labels, logits.shape)
    check_shape("weights", weights, logits.shape[1])
    check_value("floor", floor, "at least 0", holds=floor >= 0)
    if logits.shape[1] < 2:
        raise ValueError("logits: expected at least two classes")
    present, absent = _log_probabilities(at_least_float32(logits))
    terms = -torch.where(own, present, absent)  # [B, C]
    if floor > 0:
        product = (present + absent).detach().exp()
        share = torch.where(product < floor, product / floor, 1.0)
        terms = share * terms + ((1 - share) * terms).detach()
    terms = torch.where(terms > LARGEST, terms - (terms - LARGEST).detach(), terms)
    return global_mean(as_constant(weights, terms)[labels] * terms.mean(dim=1))


def _log_probabilities(logits: Tensor) -> tuple[Tensor, Tensor]:
    """Return exact log p and log(1 - p), [B, C] each."""
    present = logits.log_softmax(dim=1)
    largest = torch.zeros_like(logits, dtype=torch.bool)
    largest.scatter_(1, logits.argmax(dim=1, keepdim=True), value=True)
    others = logits.masked_fill(largest, -torch.inf).logsumexp(dim=1, keepdim=True)
    rest = torch.log1p(-torch.where(largest, 0, present.exp()))  # all others have p <= 1 / 2
    return present, torch.where(largest, others - logits.logsumexp(dim=1, keepdim=True), rest)
