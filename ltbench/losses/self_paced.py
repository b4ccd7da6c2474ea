"""Schedules of self-paced learning from experts: which images, and which experts, count how much.

Xiang et al., "Learning From Multiple Experts", ECCV 2020 (arXiv:2001.01536), section 4, in the form
of the authors' code.
"""

import torch
from torch import Tensor


def ease_within_classes(confidence: Tensor, labels: Tensor, least: Tensor) -> Tensor:
    """Return how easy images are [N]: `least` for the hardest of a class, 1 for the easiest.

    Between them it goes with the confidence. Where all of a class are equally hard it is 1.

    Args:
        confidence: [N], an expert's probability of the image's own class.
        labels: [N], int64.
        least: [C], one a class.
    """
    low = torch.full_like(least, torch.inf).scatter_reduce(0, labels, confidence, "amin")
    high = torch.zeros_like(least).scatter_reduce(0, labels, confidence, "amax")
    ease = (confidence - low[labels]) / (high - low)[labels]  # NaN where all are equally hard
    return least[labels] + (1 - least[labels]) * ease.nan_to_num(1.0)


def curriculum_weights(ease: Tensor, progress: float) -> Tensor:
    """Return the weights of images: their ease, 1 at half of training, and beyond 1 after it.

    Args:
        ease: [B].
        progress: share of the epochs, the current one included.
    """
    return ease + (1 - ease) * 2 * progress


def expert_weight(student: float, expert: float, decay_from: float) -> float:
    """Return the weight of an expert: 1 at first, 0 once the student is as good.

    Args:
        student: the student's accuracy on the expert's classes.
        expert: the expert's accuracy on them.
        decay_from: share of the expert's accuracy from which the weight falls, linearly.
    """
    if student < decay_from * expert:
        return 1.0
    return max(1 - student / expert, 0.0) / (1 - decay_from) if expert else 0.0
