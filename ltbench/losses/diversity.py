"""The divergence of experts from their mean.

Wang et al., "Long-tailed Recognition by Routing Diverse Distribution-Aware Experts", ICLR 2021
(arXiv:2010.01809), section 3.2, in the form of the authors' code.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench.core.checks import check_shape, check_some, check_value
from ltbench.core.distributed import global_mean
from ltbench.losses.counts import as_constant, class_sizes


def diversity(logits: Tensor, temperature: Tensor) -> Tensor:
    """Return the experts' mean KL divergence from their mean.

        t^2 sum_k KL(softmax(mean_k z / tau) || softmax(z_k / tau)), with t the mean of tau

    The mean over experts is constant for the gradient.

    Args:
        logits: [E, B, C].
        temperature: tau, a scalar or [C], which then divides each class's logits.
    """
    check_shape("logits", logits, "E", "B", "C")
    check_some("logits", logits.shape[1])
    if not isinstance(temperature, Tensor) or temperature.dim():
        check_shape("temperature", temperature, logits.shape[2])
    tau = as_constant(temperature, logits)
    mean = (logits.detach().mean(dim=0) / tau).softmax(dim=1)  # [B, C]
    log_own = (logits / tau).log_softmax(dim=2)  # [E, B, C]
    divergence = F.kl_div(log_own, mean.expand_as(log_own), reduction="none").sum(dim=(0, 2))
    return tau.mean().square() * global_mean(divergence)


def class_temperatures(counts: Tensor, spread: float) -> Tensor:
    """Return class temperatures that grow with class size.

    Proportional to `1 - spread + spread * C * pi_c`; the largest class has 1.

    Args:
        counts: [C], training images per class.
        spread: 0 for equal temperatures, 1 for temperatures proportional to class size.

    Returns:
        [C] float64.

    Raises:
        ValueError: for a class without images.
    """
    check_value("spread", spread, "0 to 1", holds=0 <= spread <= 1)
    sizes = class_sizes(counts)
    relative = 1 - spread + spread * sizes / sizes.mean()
    return relative / relative.max()
