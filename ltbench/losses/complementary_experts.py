"""Losses and fusion of ACE's complementary experts.

Cai, Wang, Hwang, "ACE: Ally Complementary Experts for Solving Long-Tailed Recognition in One-Shot",
ICCV 2021 (arXiv:2108.02385).
"""

from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_labels, check_shape
from ltbench.core.distributed import all_sum, world_size
from ltbench.losses.counts import as_constant, or_one
from ltbench.losses.cross_entropy import cross_entropies


def complementary_experts(logits: Tensor, labels: Tensor, groups: Tensor) -> dict[str, Tensor]:
    """Return the experts' cross-entropies, and squares of other classes' logits.

    classes: sum_i mean CE(z_i, y); complementary: sum_i mean sum_(c not in T_i) z_ic^2

    Means of expert i are over the samples of its classes T_i in the global batch; an expert
    without samples adds 0.

    Args:
        logits: [E, B, C].
        labels: [B], int64.
        groups: [E, C] bool, the classes T_i of each expert.
    """
    check_shape("logits", logits, "E", "B", "C")
    check_labels(labels, logits.shape[1:])
    check_shape("groups", groups, len(logits), logits.shape[2])
    logits = at_least_float32(logits)
    experts = len(logits)
    own = groups[:, labels]  # [E, B]
    totals = or_one(all_sum(own.sum(dim=1)))  # [E]
    shares = as_constant(own, logits) / totals.unsqueeze(1)
    weights = world_size() * shares  # [E, B]
    losses = cross_entropies(logits.flatten(0, 1), labels.repeat(experts)).view(experts, -1)
    others = logits.masked_fill(groups.unsqueeze(1), 0).square().sum(dim=2)  # [E, B]
    return {"classes": (weights * losses).sum(), "complementary": (weights * others).sum()}


def fused_logits(logits: Tensor, norms: Tensor, groups: Tensor) -> Tensor:
    """Return each class's mean over its experts, in one scale.

        mean over i with c in T_i of (s_1 / s_i) z_ic,  s_i the mean of norms over T_i

    Args:
        logits: [E, B, C].
        norms: [E, C], of the class weights, to some power.
        groups: [E, C] bool, the classes T_i of each expert; the first has all.

    Returns:
        [B, C].
    """
    check_shape("logits", logits, "E", "B", "C")
    check_shape("norms", norms, len(logits), logits.shape[2])
    check_shape("groups", groups, *norms.shape)
    norms = as_constant(norms, logits)
    scales = (norms * groups).sum(dim=1) / or_one(groups.sum(dim=1))  # [E]
    factors = groups * (scales[0] / or_one(scales)).unsqueeze(1)  # [E, C]
    return (logits * factors.unsqueeze(1)).sum(dim=0) / groups.sum(dim=0)
