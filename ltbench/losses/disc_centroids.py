"""The discriminative centroids loss of OLTR.

Liu, Miao, Zhan, Wang, Gong, Yu, "Large-Scale Long-Tailed Recognition in an Open World", CVPR 2019
(arXiv:1904.05160), and their code.
"""

from torch import Tensor

from ltbench.core.checks import check_labels, check_shape
from ltbench.core.distributed import all_sum, gather, global_mean


def disc_centroids(
    features: Tensor,
    labels: Tensor,
    centroids: Tensor,
    margin: float = 10.0,
    repel_weight: float = 0.01,
) -> Tensor:
    """Return the attraction to class centroids and the repulsion from others.

        1/2 mean_i ||f_i - c_y||^2 + w max(0, margin - mean_i 1/C sum_{c != y} ||f_i - c_c||^2)

    Means are over the global batch. As in the authors' code, and in the center loss, the gradient
    of the attraction by a centroid is the sum over its features divided by 1 + their number; every
    other gradient is that of the value.

    Args:
        features: [B, D].
        labels: [B], int64.
        centroids: [C, D].
        margin: mean squared distance at which repulsion ends.
        repel_weight: w.
    """
    classes = len(centroids)
    check_labels(labels, (len(features), classes))
    check_shape("centroids", centroids, "C", features.shape[1])
    own = centroids[labels]
    sizes = (labels[:, None] == gather(labels)).sum(dim=1)  # [B], of each label in the batch
    attract = 0.5 * (features - own.detach()).square().sum(dim=1)  # [B]
    pull = 0.5 * (features.detach() - own).square().sum(dim=1) / (1 + sizes)
    attract = attract + pull - pull.detach()

    squares = (features[:, None] - centroids).square().sum(dim=2)  # [B, C]
    others = (squares.sum(dim=1) - squares.gather(1, labels[:, None]).squeeze(1)) / classes
    count = all_sum(others.new_tensor(float(len(others))))
    near = all_sum(others.sum()) / count < margin
    repel = near * (margin - global_mean(others))
    return global_mean(attract) + repel_weight * repel
