"""Distribution-balanced loss: class-aware batches, re-balanced weights, tolerance of negatives.

Wu, Huang, Liu, Wang, Lin, "Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed
Datasets", ECCV 2020 (arXiv:2007.09654), section 3.

    class-aware sampling                                                     implemented
    r_c = (1 / n_c) / sum_k [y_k] / n_k                                   implemented
    r^ = alpha + sigmoid(beta (r - mu))                                   implemented
    z' = z - nu_c, nu_c = kappa / lambda ln(N / n_c - 1)                     implemented
    negatives: -1 / lambda log(1 - sigmoid(lambda z'))                    implemented
    focal loss of z'                                                      implemented

The subject of the paper is several labels an image; ours has one. Then r_c = n_y / n_c: 1 for the
label, more for smaller classes and less for larger ones, so that images of small classes hardly
count as negatives of large ones, and their weights undo part of the class-aware sampling. As in the
authors' code the bias is kappa / lambda (kappa in the paper), the focal loss has a factor 2, its
factor carries a gradient, and predictions are of z without the bias. Where ours is not theirs:
`reduction: sum` adds up the classes, as all other sigmoid losses of the suite do; the authors' mean
over classes is a C-th of it and too small for the learning rates of image classification.
Classifiers start at probability 1 / C, theirs at a half, from which a sum over many classes would
take a large first step. Defaults are the code's values for COCO-MLT; VOC-MLT has lambda 5 and mu
0.3.
"""

from typing import Literal

from pydantic import Field
from torch import nn

from ltbench.classifiers import one_vs_all
from ltbench.losses import (
    class_bias,
    distribution_balanced,
    one_vs_all_targets,
    rebalanced_weights,
)
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec, build_backbone


class DistributionBalancedHParams(HParams):
    """Hyper-parameters of the distribution-balanced loss."""

    alpha: float = Field(0.1, ge=0, description="lift of all weights")
    beta: float = Field(10.0, gt=0, description="steepness of the map of weights")
    mu: float = Field(0.2, ge=0, description="ratio in the middle of the map of weights")
    kappa: float = Field(0.05, ge=0, description="size of the classes' initial bias")
    scale: float = Field(
        2.0, ge=1, description="of negatives' logits (lambda); 1 tolerates no negatives"
    )
    gamma: float = Field(2.0, ge=0, description="focusing exponent; 0 is cross-entropy")
    reduction: Literal["sum", "mean"] = Field(
        "sum", description="over classes; the paper's code has the mean"
    )


class DistributionBalanced(Method):
    """Focal binary cross-entropy with re-balanced weights and tolerance of negatives."""

    title = "Distribution-balanced loss"
    paper = Paper(
        title="Distribution-Balanced Loss for Multi-Label Classification in Long-Tailed Datasets",
        authors="Tong Wu, Qingqiu Huang, Ziwei Liu, Yu Wang, Dahua Lin",
        venue="ECCV",
        year=2020,
        arxiv="2007.09654",
    )
    category = "cost-sensitive"
    stages = (Stage("train", samplers=("class_aware",)),)
    oracle = "distribution_balanced"
    HParams = DistributionBalancedHParams
    hparams: DistributionBalancedHParams

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with one-vs-all classifiers."""
        backbone, width = build_backbone(spec)
        return Network(backbone, one_vs_all(width, spec.classes))

    def training_loss(self, batch: Batch) -> Loss:
        """Return the distribution-balanced loss."""
        hparams, counts = self.hparams, self.counts
        logits = self.network(batch.images)
        targets = one_vs_all_targets(batch.labels, logits.shape)
        bias = class_bias(counts, counts.sum(), hparams.kappa, hparams.scale)
        weights = rebalanced_weights(targets, counts, hparams.alpha, hparams.beta, hparams.mu)
        loss = distribution_balanced(logits, targets, bias, weights, hparams.scale, hparams.gamma)
        return loss if hparams.reduction == "sum" else loss / self.spec.classes
