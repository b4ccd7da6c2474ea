"""Losses of unequal training: noise resistance, and dispersion of class centers.

Zhong et al., "Unequal-Training for Deep Face Recognition With Long-Tailed Noisy Data", CVPR 2019,
in the form of the authors' code.
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench.core.autocast import no_autocast, unit_rows
from ltbench.core.checks import check_shape, check_value
from ltbench.core.distributed import gather, gather_with_gradient, global_mean
from ltbench.losses.cross_entropy import cross_entropies


def noise_resistant(logits: Tensor, labels: Tensor, beta: float = 0.9) -> Tensor:
    """Return the mean cross-entropy of labels mixed with predictions.

    -(beta log p_y + (1 - beta) log p_k), k the class of the largest logit, without gradient. With
    beta = 1 it is cross-entropy.

    Args:
        logits: [B, C].
        labels: [B], int64.
        beta: share of the labels.
    """
    check_value("beta", beta, "0 to 1", holds=0 <= beta <= 1)
    of_labels = cross_entropies(logits, labels)
    if beta == 1:
        return global_mean(of_labels)
    predicted = cross_entropies(logits, logits.detach().argmax(dim=1))
    return global_mean(beta * of_labels + (1 - beta) * predicted)


def center_dispersion(embeddings: Tensor, labels: Tensor) -> Tensor:
    """Return the mean squared cosine of class centers in the global batch.

        1/K^2 sum_(k != l) (mu_k mu_l)^2, mu_k = m_k / |m_k|

    m_k is the mean of the embeddings of class k at length 1, K the number of classes in the batch.
    It is 0 for orthogonal centers, and for a single class.

    Args:
        embeddings: [B, D], this rank's rows; B is equal on every rank.
        labels: [B], int64.
    """
    check_shape("embeddings", embeddings, "B", "D")
    check_shape("labels", labels, len(embeddings))
    with no_autocast(embeddings):
        units, labels = gather_with_gradient(unit_rows(embeddings)), gather(labels)
        same = (labels[:, None] == labels).to(units.dtype)  # [N, N]
        centers = F.normalize(same @ units)  # [N, D], in each row that of its class
        weights = 1 / same.sum(dim=1)  # [N], 1 in all for each class
        pairs = weights[:, None] * weights * (1 - same)
        return (pairs * (centers @ centers.T).square()).sum() / weights.sum().square()
