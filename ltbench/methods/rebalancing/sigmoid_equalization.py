"""Sigmoid equalization loss: tail classes ignore most images of other classes.

Tan, Wang, Li, Li, Ouyang, Yin, Yan, "Equalization Loss for Long-Tailed Object Recognition", CVPR
2020 (arXiv:2003.05176), section 3.

    L = sum_j w_j BCE(z_j, y_j), a sigmoid per class                implemented
    w_j = 1 - E [f_j < lambda] (1 - y_j), E = 0 for background      implemented without background
    beta in place of E, 1 with probability gamma                    implemented
    softmax of the same weights                                     in `equalization`

f_j is the share of class j in the training images. Without background there is no image from which
a tail class learns what it is not: with E = 1 throughout, `gamma: 1`, tail classes answer yes to
every image. The paper's remedy in image classification, there with softmax, is beta, drawn for each
image and class; ours takes it over, with the same default. To be comparable between datasets
`threshold` is lambda C with C the number of classes, the size of a class relative to the mean, as
in `equalization`, whose default it has: the paper's 1.76e-3 is of objects in LVIS. Classifiers
start at probability 1 / C. With equal counts no class is tail, and the loss is binary
cross-entropy.
"""

from pydantic import Field
from torch import nn

from ltbench.classifiers import one_vs_all
from ltbench.losses import sigmoid_equalization
from ltbench.methods.contract import Batch, HParams, Loss, Method
from ltbench.methods.rebalancing.equalization import Equalization
from ltbench.networks import Network, NetworkSpec, build_backbone


class SigmoidEqualizationHParams(HParams):
    """Hyper-parameters of the sigmoid equalization loss."""

    gamma: float = Field(
        0.9, ge=0, le=1, description="probability that a tail class ignores an image"
    )
    threshold: float = Field(
        0.43,
        ge=0,
        lt=1,
        description="size from which on a class is not tail, relative to the mean size",
    )


class SigmoidEqualization(Method):
    """Binary cross-entropy with fewer negative gradients on tail classes."""

    title = "EQL (sigmoid)"
    paper = Equalization.paper
    category = "cost-sensitive"
    oracle = "sigmoid_eql"
    HParams = SigmoidEqualizationHParams
    hparams: SigmoidEqualizationHParams

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with one-vs-all classifiers."""
        backbone, width = build_backbone(spec)
        return Network(backbone, one_vs_all(width, spec.classes))

    def training_loss(self, batch: Batch) -> Loss:
        """Return the sigmoid equalization loss."""
        classes = self.spec.classes
        uniform = self.rng.uniform(batch.labels, classes)  # [B, classes]
        logits = self.network(batch.images)
        share = self.hparams.threshold / classes
        return sigmoid_equalization(
            logits, batch.labels, self.counts, uniform, self.hparams.gamma, share
        )
