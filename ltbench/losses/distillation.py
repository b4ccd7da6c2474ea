"""Knowledge distillation: a teacher's class probabilities as soft targets.

Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network" (arXiv:1503.02531).
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench.core.checks import check_shape, check_some, check_value
from ltbench.core.distributed import global_mean


def distillation(logits: Tensor, teacher_logits: Tensor, temperature: float) -> Tensor:
    """Return the mean KL divergence from the teacher over the global batch.

    KL(softmax(teacher_logits / T) || softmax(logits / T)). Many papers multiply it by T^2, so that
    gradients do not shrink with T.

    Args:
        logits: [B, C], of the student.
        teacher_logits: [B, C].
        temperature: T.
    """
    check_some("logits", len(logits))
    check_shape("teacher_logits", teacher_logits, *logits.shape)
    check_value("temperature", temperature, "more than 0", holds=temperature > 0)
    log_target = (teacher_logits / temperature).log_softmax(dim=1)
    log_own = (logits / temperature).log_softmax(dim=1)
    return global_mean(
        F.kl_div(log_own, log_target, reduction="none", log_target=True).sum(dim=1)  # [B]
    )
