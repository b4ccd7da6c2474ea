"""Contrast of images with images of all classes, or class prototypes.

Khosla et al., "Supervised Contrastive Learning", NeurIPS 2020 (arXiv:2004.11362); Wang, Han, Wei,
Zhang, Wang, "Contrastive Learning based Hybrid Networks for Long-Tailed Image Classification", CVPR
2021 (arXiv:2103.14267).
"""

import torch.nn.functional as F
from torch import Tensor

from ltbench.core.autocast import unit_rows
from ltbench.core.checks import check_labels, check_shape, check_value
from ltbench.core.distributed import gather, gather_with_gradient, own_positions
from ltbench.losses.contrast import contrast, other_samples, similarities


def supervised_contrast(embeddings: Tensor, labels: Tensor, temperature: float = 0.1) -> Tensor:
    """Return the supervised contrastive loss of all views of the global batch.

        -mean_j log(exp(v_i v_j / T) / sum_(k != i) exp(v_i v_k / T)), v of length 1

    j are the other views of images of the class of i. The mean is over all views of all images; a
    view without such others has loss 0.

    Args:
        embeddings: [V, B, D], of V views of this rank's images; B is equal on every rank.
        labels: [B], int64.
        temperature: T.
    """
    check_shape("embeddings", embeddings, "V", "B", "D")
    check_shape("labels", labels, embeddings.shape[1])
    check_value("temperature", temperature, "more than 0", holds=temperature > 0)
    own = labels.repeat(len(embeddings))  # [V * B]
    anchors = unit_rows(embeddings).flatten(0, 1)
    scores = similarities(anchors, gather_with_gradient(anchors), temperature)  # [V * B, W * V * B]
    others, same = other_samples(scores, own, gather(own), own_positions(own))
    return contrast(scores, same, others)


def prototype_contrast(
    embeddings: Tensor, prototypes: Tensor, labels: Tensor, temperature: float = 0.1
) -> Tensor:
    """Return the mean contrast of images with the prototypes of classes.

        -log(exp(v q_y / T) / sum_(c != y) exp(v q_c / T)), v and q of length 1

    The class of the image is not in the denominator: the loss may be below 0.

    Args:
        embeddings: [B, D].
        prototypes: [C, D], q.
        labels: [B], int64.
        temperature: T.
    """
    check_shape("embeddings", embeddings, "B", "D")
    check_shape("prototypes", prototypes, "C", embeddings.shape[1])
    check_labels(labels, (len(embeddings), len(prototypes)))
    check_value("temperature", temperature, "more than 0", holds=temperature > 0)
    scores = similarities(unit_rows(embeddings), unit_rows(prototypes), temperature)  # [B, C]
    own = F.one_hot(labels, len(prototypes)).bool()
    return contrast(scores, own, ~own)
