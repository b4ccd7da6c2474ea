"""LWS, learnable weight scaling: one learned factor a class on a fixed classifier.

Kang, Xie, Rohrbach, Yan, Gordo, Feng, Kalantidis, "Decoupling Representation and Classifier for
Long-Tailed Recognition", ICLR 2020 (arXiv:1910.09217), section 4.

    w~_i = f_i w_i, f_i learned with class-balanced sampling    (4)    implemented

The authors' code multiplies the whole logit, so that the bias is scaled too; so do we. The weights
of their backbone and classifier are fixed, and the factors begin at 1. As in their cRT the network
is in training mode: BatchNorm uses the statistics of the balanced batches and updates its running
ones. Ours does so by default; `update_bn: false` keeps the statistics of stage 1. A start without a
bias counts as one with bias zero.
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
    """A trained network of which only one scale a class is trained."""

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
        """Return a network whose classifier has something to learn beside its weights."""
        backbone, width = build_backbone(spec)
        return Network(backbone, self.classifier(width, spec.classes))

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - there is one
        """Freeze everything but what is learned."""
        self.freeze(self.network, update_bn=self.hparams.update_bn)
        self.network.classifier.get_parameter(self.learned).requires_grad_()

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy."""
        return cross_entropy(self.network(batch.images), batch.labels)
