"""Knowledge distillation: soft targets from a teacher or from other networks.

Targets are class probabilities.

Hinton, Vinyals, Dean, "Distilling the Knowledge in a Neural Network" (arXiv:1503.02531); Zhang,
Xiang, Hospedales, Lu, "Deep Mutual Learning", CVPR 2018 (arXiv:1706.00384).
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_shape, check_some, check_value
from ltbench.core.distributed import global_mean


def distillation(
    logits: Tensor, teacher_logits: Tensor, temperature: float, power: float = 1.0
) -> Tensor:
    """Return the mean KL divergence from the teacher over the global batch.

    KL(softmax(teacher_logits / T) || softmax(logits / T)). Many papers multiply it by T^2, so that
    gradients do not shrink with T. With a power p the teacher's probabilities are q^p, normalized
    (DiVE, He et al., ICCV 2021): softmax(p teacher_logits / T).

    Args:
        logits: [B, C], of the student.
        teacher_logits: [B, C].
        temperature: T.
        power: p; below 1 the teacher's probabilities are more even.
    """
    check_some("logits", len(logits))
    check_shape("teacher_logits", teacher_logits, *logits.shape)
    check_value("temperature", temperature, "more than 0", holds=temperature > 0)
    check_value("power", power, "at least 0", holds=power >= 0)
    logits, teacher_logits = (at_least_float32(each) for each in (logits, teacher_logits))
    log_target = (teacher_logits / temperature * power).log_softmax(dim=1)
    log_own = (logits / temperature).log_softmax(dim=1)
    return global_mean(
        F.kl_div(log_own, log_target, reduction="none", log_target=True).sum(dim=1)  # [B]
    )


def mutual_distillation(logits: Tensor, epsilon: float = 0.0) -> Tensor:
    """Return the mean KL divergence between networks, summed over their ordered pairs.

        sum_(i != j) KL(p_j || p_i),  p_k = softmax(z_k)

    Each network is both student and teacher: the gradient goes through both sides.

    Args:
        logits: [K, B, C], of the networks.
        epsilon: added to the student's probability inside its logarithm, as some authors' code
            does.
    """
    check_shape("logits", logits, "K", "B", "C")
    check_some("logits", logits.shape[1])
    check_value("epsilon", epsilon, "at least 0", holds=epsilon >= 0)
    log_target = at_least_float32(logits).log_softmax(dim=2)
    target = log_target.exp()
    log_own = (target + epsilon).log() if epsilon else log_target
    others = log_own.sum(dim=0) - log_own  # [K, B, C], the logarithms of the other networks
    terms = target * ((len(logits) - 1) * log_target - others)
    return global_mean(terms.sum(dim=(0, 2)))
