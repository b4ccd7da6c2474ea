"""Self-paced learning from experts: weights of images and of experts.

Xiang et al., "Learning From Multiple Experts", ECCV 2020 (arXiv:2001.01536), section 4, in the form
of the authors' code.
"""

import torch
from torch import Tensor

from ltbench.core.checks import check_labels, check_value


def ease_within_classes(confidence: Tensor, labels: Tensor, least: Tensor) -> Tensor:
    """Return the ease of images, scaled within each class.

    Linear in the confidence, from `least` for a class's hardest image to 1 for its easiest; 1 if
    all of its images are equally hard.

    Args:
        confidence: [N], an expert's probability of the image's label.
        labels: [N], int64.
        least: [C], of the classes.

    Returns:
        [N].
    """
    check_labels(labels, (len(confidence), len(least)))
    low = torch.full_like(least, torch.inf).scatter_reduce(0, labels, confidence, "amin")
    high = torch.zeros_like(least).scatter_reduce(0, labels, confidence, "amax")
    ease = (confidence - low[labels]) / (high - low)[labels]  # NaN where all are equally hard
    return least[labels] + (1 - least[labels]) * ease.nan_to_num(1.0)


def curriculum_weights(ease: Tensor, progress: float) -> Tensor:
    """Return the weights of images in an epoch.

    Linear in the progress: their ease at first, 1 at half of training, above 1 afterwards.

    Args:
        ease: [B].
        progress: completed share of the epochs, the current one included.
    """
    return ease + (1 - ease) * 2 * progress


def expert_weight(student: float, expert: float, decay_from: float) -> float:
    """Return an expert's weight, which falls with the student's accuracy.

    1 at first, 0 once the student is as accurate.

    Args:
        student: the student's accuracy on the expert's classes.
        expert: the expert's accuracy on them.
        decay_from: share of the expert's accuracy from which the weight falls linearly.
    """
    check_value("decay_from", decay_from, "0 <= decay_from < 1", holds=0 <= decay_from < 1)
    if student < decay_from * expert:
        return 1.0
    return max(1 - student / expert, 0.0) / (1 - decay_from) if expert else 0.0
