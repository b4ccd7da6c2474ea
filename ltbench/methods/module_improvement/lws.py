"""LWS, learnable weight scaling: a factor per class on a fixed classifier.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis, "Decoupling Representation and Classifier for
Long-Tailed Recognition", ICLR 2020 (arXiv:1910.09217), section 4.

    w~_i = f_i w_i, f_i learned with class-balanced sampling    (4)    implemented

The authors' code multiplies the whole logit, so that the bias is scaled too; so does ours. Backbone
and classifier are fixed, and the factors start at 1. As in their cRT the network is in training
mode: BatchNorm uses the statistics of the balanced batches and updates its running ones. So does
ours by default; `update_bn: false` keeps the statistics of stage 1. A stage-1 classifier without
bias gets a bias of zero.
"""

from typing import ClassVar

from torch import nn

from ltbench.classifiers import LearnableScale
from ltbench.losses import cross_entropy
from ltbench.methods.contract import Batch, Loss, Method, Stage
from ltbench.methods.module_improvement.crt import DecouplingHParams
from ltbench.methods.papers import DECOUPLING
from ltbench.networks import Network, NetworkSpec, build_backbone


class LWS(Method):
    """A learned scale per class on a frozen network."""

    title = "LWS"
    paper = DECOUPLING
    category = "decoupled"
    version = 2
    stages = (
        Stage(
            "scales",
            samplers=("class_balanced",),
            recipe_stage="stage2",
            passes=0,
            forward_passes=1,
        ),
    )
    init_from = "softmax"
    required_init_tensors = ("weight",)
    oracle = "classifiers"
    HParams: ClassVar[type[DecouplingHParams]] = DecouplingHParams
    hparams: DecouplingHParams
    classifier: ClassVar[type[nn.Linear]] = LearnableScale
    learned: ClassVar[str] = "scale"
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with a classifier of `self.classifier`."""
        backbone, width = build_backbone(spec)
        return Network(backbone, self.classifier(width, spec.classes))

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - the only stage
        """Freeze everything but the learned parameter."""
        self.freeze(self.network, update_bn=self.hparams.update_bn)
        self.network.classifier.get_parameter(self.learned).requires_grad_()

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy."""
        return cross_entropy(self.network(batch.images), batch.labels)
