"""K-positive contrastive loss, plain and with targets of the classes.

Kang, Li, Xie, Yuan, Feng, "Exploring Balanced Feature Spaces for Representation Learning", ICLR
2021. Targets: Li, Cao, Yuan, Fan, Yang, Feris, Indyk, Katabi, "Targeted Supervised Contrastive
Learning for Long-Tailed Recognition", CVPR 2022 (arXiv:2111.13998).
"""

from typing import Literal

import torch
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_choice, check_shape, check_value
from ltbench.losses.contrast import contrast, similarities

Unused = Literal["negative", "zero"]
"""Positives that were not drawn: counted as they are, or with similarity 0."""


def draw_positives(same: Tensor, numbers: Tensor) -> Tensor:
    """Draw positives of each anchor at random, without replacement.

    In a round the sample at place floor(u n) of the n remaining ones is drawn, if there are any.

    Args:
        same: [B, K] bool, samples of the anchor's class.
        numbers: [B, k], a random number u in [0, 1) for each round.

    Returns:
        [B, K] bool.
    """
    check_shape("same", same, "B", "K")
    check_shape("numbers", numbers, len(same), "k")
    left = same
    for number in numbers.unbind(dim=1):
        order = left.cumsum(dim=1)  # [B, K]
        place = (number * order[:, -1]).long() + 1
        left = left & (order != place[:, None])
    return same & ~left


def k_positive(
    queries: Tensor,
    keys: Tensor,
    queue: Tensor,
    same: Tensor,
    drawn: Tensor,
    temperature: float,
    unused: Unused = "negative",
    targets: tuple[Tensor, Tensor, float] | None = None,
) -> Tensor:
    """Return the mean contrast of own keys and drawn positives.

    All keys are in the denominator. With targets these are further samples, and the anchor's own is
    a positive with a weight; the sum is still divided by the number of positives.

    Args:
        queries: [B, D], of length 1.
        keys: [B, D], own keys of the queries.
        queue: [K, D], keys of other images.
        same: [B, K] bool, keys of the query's class.
        drawn: [B, K] bool, those of them that are positives.
        temperature: of the similarities.
        unused: what the others of them are.
        targets: of classes [C, D], the position of each query's own [B], and its weight.
    """
    check_shape("keys", keys, *queries.shape)
    check_shape("queue", queue, "K", queries.shape[1])
    check_shape("same", same, len(queries), len(queue))
    check_shape("drawn", drawn, *same.shape)
    check_value("temperature", temperature, "more than 0", holds=temperature > 0)
    check_choice("unused", unused, Unused)
    products = at_least_float32(queries) * at_least_float32(keys)
    own = products.sum(dim=1, keepdim=True) / temperature  # [B, 1]
    others = similarities(queries, queue, temperature)  # [B, K]
    if unused == "zero":
        others = others.masked_fill(same & ~drawn, 0)
    scores, positives = [own, others], [torch.ones_like(own), drawn.to(own.dtype)]
    normalizer = 1 + drawn.sum(dim=1)
    if targets is not None:
        points, positions, weight = targets
        to_points = similarities(queries, points, temperature)  # [B, C]
        scores.append(to_points)
        is_own = torch.zeros_like(to_points).scatter(1, positions[:, None], weight)
        positives.append(is_own)
        normalizer = normalizer + 1
    return contrast(torch.cat(scores, dim=1), torch.cat(positives, dim=1), normalizer=normalizer)
