"""Equalization loss v2: one-vs-all classifiers, balanced by their accumulated gradients.

Tan, Lu, Zhang, Yin, Li, "Equalization Loss v2: A New Gradient Balance Approach for Long-tailed
Object Detection", CVPR 2021 (arXiv:2012.08548), section 3.

    L = sum_j w_j BCE(z_j, y_j), a sigmoid per class                      implemented
    g_j: accumulated gradients of positives / of negatives                implemented
    r_j = f(g_j) for negatives, q_j = 1 + alpha (1 - f(g_j)) for positives    implemented
    f(x) = 1 / (1 + exp(-gamma (x - mu)))                                 implemented
    gradients are accumulated with their weights, over all ranks          implemented
    a branch for "is it an object", without weights                       left out: for detection

As in the authors' code the weights of a batch are those from before it, constants for the gradient,
and 1 in the first step. Where ours is not theirs: the sums are kept in double precision,
classifiers start at probability 1 / C (in detection at a small constant), and all images have a
class, so that a class gets its negative gradients from images of other classes alone, never from
background. A fitted bias makes both sums of a class grow alike: late in training the ratio is near
1 for every class, so that the weights tell classes apart chiefly early.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import one_vs_all
from ltbench.losses import binary, gradient_guided_weights, gradient_sums, one_vs_all_targets
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper
from ltbench.networks import Network, NetworkSpec, build_backbone


class EQLv2HParams(HParams):
    """Hyper-parameters of equalization loss v2."""

    gamma: float = Field(12.0, gt=0, description="steepness of the weight of negatives")
    mu: float = Field(
        0.8, ge=0, description="ratio of gradients at which negatives have half their weight"
    )
    alpha: float = Field(4.0, ge=0, description="largest addition to the weight of positives")


class EQLv2(Method):
    """Binary cross-entropy with weights by accumulated gradients."""

    title = "EQL v2"
    paper = Paper(
        title="Equalization Loss v2: A New Gradient Balance Approach for Long-tailed Object "
        "Detection",
        authors="Jingru Tan, Xin Lu, Gang Zhang, Changqing Yin, Quanquan Li",
        venue="CVPR",
        year=2021,
        arxiv="2012.08548",
    )
    category = "cost-sensitive"
    batch_dependence = "gathered"
    oracle = "eql_v2"
    HParams = EQLv2HParams
    hparams: EQLv2HParams
    gradients: Tensor

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with one-vs-all classifiers; register the sums of gradients."""
        self.register_buffer("gradients", torch.zeros(2, spec.classes, dtype=torch.float64))
        backbone, width = build_backbone(spec)
        return Network(backbone, one_vs_all(width, spec.classes))

    def training_loss(self, batch: Batch) -> Loss:
        """Return the weighted binary cross-entropy, and accumulate its gradients."""
        hparams = self.hparams
        logits = self.network(batch.images)
        targets = one_vs_all_targets(batch.labels, logits.shape)
        positive, negative = gradient_guided_weights(
            self.gradients, hparams.gamma, hparams.mu, hparams.alpha
        )
        weights = torch.where(targets, positive, negative)  # [B, C]
        self.gradients += gradient_sums(logits, targets, weights)
        return binary(logits, targets, weights)
