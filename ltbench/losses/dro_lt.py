"""The distributionally robust loss of DRO-LT.

Samuel, Chechik, "Distributional Robustness Loss for Long-tail Learning", ICCV 2021
(arXiv:2104.03066), and their code.
"""

import torch
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_labels, check_shape, check_value
from ltbench.core.distributed import gather, gather_with_gradient, global_mean, own_positions


def dro_lt(
    features: Tensor, labels: Tensor, means: Tensor, radii: Tensor, temperature: float = 1.0
) -> Tensor:
    """Return the mean -log softmax of distances to class means.

        s_cj = -||mu_c - f_j|| - epsilon_j 1[y_j = c]
        mean over the classes c of the batch of the mean over their images of -log softmax_j(s_cj/T)

    Args:
        features: [B, D].
        labels: [B], int64.
        means: [C, D], of the classes (mu).
        radii: [B], of each image's class (epsilon): the distance that its mean may be off.
        temperature: T.
    """
    check_shape("means", means, "C", "D")
    check_shape("features", features, "B", means.shape[1])
    check_labels(labels, (len(features), len(means)))
    check_shape("radii", radii, len(features))
    check_value("temperature", temperature, "above 0", holds=temperature > 0)
    features = at_least_float32(features)
    every, radius = gather_with_gradient(features), gather_with_gradient(radii.to(features.dtype))
    same = labels[:, None] == gather(labels)  # [B, N]
    own = means.to(features.dtype)[labels]  # [B, D]
    distances = torch.cdist(own, every, compute_mode="donot_use_mm_for_euclid_dist")
    scores = -(distances + torch.where(same, radius, 0)) / temperature
    place = own_positions(labels)
    losses = scores.logsumexp(dim=1) - scores.gather(1, place[:, None])[:, 0]  # [B]
    return global_mean(losses, 1 / same.sum(dim=1).to(losses.dtype))
