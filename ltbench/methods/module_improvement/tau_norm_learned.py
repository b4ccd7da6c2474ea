"""tau-normalised classifier whose tau is learned with class-balanced sampling.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis, "Decoupling Representation and Classifier for
Long-Tailed Recognition", ICLR 2020 (arXiv:1910.09217), section 4.

    w~_i = w_i / ||w_i||^tau    (3)                                          implemented
    tau learned on training images, classes alike, by cross-entropy          implemented

For data without validation images, where `tau_norm_validated` would choose it. Backbone and weights
are fixed, the bias is dropped, and tau begins at 0, the weights as they were trained. The authors
have published no code for this.
"""

from typing import cast

from torch import nn

from ltbench.classifiers import TauNormalised
from ltbench.losses import cross_entropy
from ltbench.methods.base import Batch, Loss, Method, Stage
from ltbench.methods.papers import DECOUPLING
from ltbench.networks import Network, NetworkSpec, build_backbone


class TauNormLearned(Method):
    """A trained network of which only the power of its weights' norms is trained."""

    title = "tau-norm (learned)"
    paper = DECOUPLING
    category = "decoupled"
    stages = (Stage("tau", samplers=("class_balanced",), second=True),)
    start_from = "softmax"
    start_needs = ("weight",)
    oracle = "classifiers"
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network whose classifier has a tau."""
        backbone, width = build_backbone(spec)
        return Network(backbone, TauNormalised(width, spec.classes))

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - there is one
        """Freeze everything but tau."""
        self.freeze(self.network)
        cast("TauNormalised", self.network.classifier).tau.requires_grad_()

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy."""
        return cross_entropy(self.network(batch.images), batch.labels)
