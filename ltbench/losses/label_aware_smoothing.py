"""Label-aware smoothing: classes with more images are smoothed more.

Zhong, Cui, Liu, Jia, "Improving Calibration for Long-Tailed Recognition", CVPR 2021
(arXiv:2104.00466), equations 5 to 9.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.core.distributed import global_mean
from ltbench.losses.counts import as_constant, class_sizes

Shape = Literal["concave", "linear", "convex"]


def label_smoothing(counts: Tensor, head: float, tail: float, shape: Shape = "concave") -> Tensor:
    """Return the smoothing [C] of each class in float64, from `tail` up to `head`.

    In between it follows t = (n - n_min) / (n_max - n_min): "linear" t, "concave" sin(pi t / 2),
    "convex" 1 - cos(pi t / 2). With equal counts, where the authors' code divides by zero, every
    class is smoothed as the largest.

    Args:
        counts: [C], training images a class.
        head: smoothing of the largest class.
        tail: smoothing of the smallest class.
        shape: of the way from one to the other.

    Raises:
        ValueError: for a class without images.
    """
    sizes = class_sizes(counts)
    least, most = sizes.aminmax()
    place = torch.where(most > least, (sizes - least) / (most - least), 1.0)
    if shape == "concave":
        place = torch.sin(place * math.pi / 2)
    elif shape == "convex":
        place = 1 - torch.cos(place * math.pi / 2)
    return tail + (head - tail) * place


def label_aware_smoothing(logits: Tensor, labels: Tensor, smoothing: Tensor) -> Tensor:
    """Return the mean cross-entropy against targets smoothed by class.

    As in the authors' code a class's smoothing s is spread over all C classes, its own included:
    the target is 1 - s + s / C. The paper spreads it over the C - 1 others.

    Args:
        logits: [B, C].
        labels: [B], int64.
        smoothing: [C], in [0, 1].
    """
    share = as_constant(smoothing, logits)[labels]  # [B]
    log_p = F.log_softmax(logits, dim=1)
    own = log_p.gather(1, labels[:, None]).squeeze(1)
    return -global_mean((1 - share) * own + share * log_p.mean(dim=1))
