"""Hard categories of SHIKE: distillation from all experts on the other classes.

Jin, Li, Lu, Cheung, Wang, "Long-Tailed Visual Recognition via Self-Heterogeneous Integration with
Knowledge Excavation", CVPR 2023 (arXiv:2304.01279), section 3.4, in the form of the authors' code.
"""

import torch
import torch.nn.functional as F
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_labels, check_shape
from ltbench.core.distributed import global_mean

EXCLUDED = -30.0
"""Logit of the label in the experts' softmax over the other classes, as in the authors' code."""


def hardest_negative(logits: Tensor, labels: Tensor) -> Tensor:
    """Return the experts' summed KL divergences from a teacher.

        sum_k KL(softmax(r) || softmax(z_k without the label))

    The teacher's logit r of a class is the largest of the experts' ones, but that of the hardest
    class, which has the largest mean, is this mean; r is 0 for the label. The gradient goes through
    both sides.

    Args:
        logits: [E, B, C], of the experts.
        labels: [B], int64.
    """
    check_shape("logits", logits, "E", "B", "C")
    check_labels(labels, logits.shape[1:])
    logits = at_least_float32(logits)
    classes = logits.shape[2]
    own = F.one_hot(labels, classes).bool()
    mean = logits.mean(dim=0)  # [B, C]
    hardest = mean.detach().masked_fill(own, -torch.inf).argmax(dim=1)
    largest = logits.max(dim=0).values  # of equal ones the first has the gradient; with amax all
    teacher = torch.where(F.one_hot(hardest, classes).bool(), mean, largest)
    log_teacher = torch.where(own, 0, teacher).log_softmax(dim=1)
    log_own = torch.where(own, EXCLUDED, logits).log_softmax(dim=2)  # [E, B, C]
    terms = log_teacher.exp() * (log_teacher - log_own)
    return global_mean(terms.sum(dim=(0, 2)))
