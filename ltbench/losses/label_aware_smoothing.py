"""Label-aware smoothing: more label smoothing for classes with more images.

Zhong, Cui, Liu, Jia, "Improving Calibration for Long-Tailed Recognition", CVPR 2021
(arXiv:2104.00466), equations 5 to 9.
"""

import math
from typing import Literal

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.core.checks import check_choice, check_labels, check_shape, check_value
from ltbench.core.distributed import global_mean
from ltbench.losses.counts import as_constant, class_sizes

Shape = Literal["concave", "linear", "convex", "exp"]


def label_smoothing(
    counts: Tensor, head: float, tail: float, shape: Shape = "concave", power: float = 1.0
) -> Tensor:
    """Return the label smoothing of each class, from `tail` to `head`.

    In between it follows t = (n - n_min) / (n_max - n_min): "linear" t, "concave" sin(pi t / 2),
    "convex" 1 - cos(pi t / 2), and "exp" t^power, which is in the authors' code alone. With equal
    counts, where their code divides by zero, every class has that of the largest.

    Args:
        counts: [C], training images per class.
        head: smoothing of the largest class.
        tail: smoothing of the smallest class.
        shape: of the curve in between.
        power: exponent of the shape "exp".

    Returns:
        [C] float64.

    Raises:
        ValueError: for a class without images.
    """
    check_choice("shape", shape, Shape)
    for name, share in (("head", head), ("tail", tail)):
        check_value(name, share, "0 to 1", holds=0 <= share <= 1)
    sizes = class_sizes(counts)
    least, most = sizes.aminmax()
    t = torch.where(most > least, (sizes - least) / (most - least), 1.0)
    if shape == "concave":
        t = torch.sin(t * math.pi / 2)
    elif shape == "convex":
        t = 1 - torch.cos(t * math.pi / 2)
    elif shape == "exp":
        t = t**power
    return tail + (head - tail) * t


def label_aware_smoothing(logits: Tensor, labels: Tensor, smoothing: Tensor) -> Tensor:
    """Return the mean cross-entropy with targets smoothed by class.

    As in the authors' code the smoothing s is spread over all C classes, the label included: its
    target is 1 - s + s / C. The paper spreads it over the C - 1 others.

    Args:
        logits: [B, C].
        labels: [B], int64.
        smoothing: [C], in [0, 1].
    """
    check_labels(labels, logits.shape)
    check_shape("smoothing", smoothing, logits.shape[1])
    share = as_constant(smoothing, logits)[labels]  # [B]
    log_p = F.log_softmax(logits, dim=1)
    own = log_p.gather(1, labels[:, None]).squeeze(1)
    return -global_mean((1 - share) * own + share * log_p.mean(dim=1))
