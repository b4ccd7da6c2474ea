"""MiSLAS: mixup, then label-aware smoothing with shifted BatchNorm statistics.

Zhong, Cui, Liu, Jia, "Improving Calibration for Long-Tailed Recognition", CVPR 2021
(arXiv:2104.00466).

    stage 1: mixup, instance-balanced                                          implemented
    stage 2: class-balanced, backbone weights fixed                            implemented
    label-aware smoothing, concave, linear and convex                  (5-9)   implemented
    the same as a power of the class size, `shape: exp`                        from their code
    W~ = diag(s) (r W + dW): scales s are learned, W learns slowly      (10)   implemented
    shift learning: BatchNorm uses and updates batch statistics in stage 2     implemented

As in the authors' code, which gave the published numbers, the scales multiply the bias too, the
original weights are trained further with a smaller learning rate (`classifier_lr`), and the
smoothing is spread over all classes, the true one included. Their code does not shift BatchNorm on
CIFAR-10. On Places-LT it trains one more bottleneck block behind a fixed, pretrained ResNet-152,
and shifts only that block; ours has no such block, trains the ResNet-152 in stage 1 and shifts all
of it in stage 2.
"""

from typing import cast

from pydantic import Field
from torch import nn

from ltbench.augment import mixup
from ltbench.classifiers import LearnableScale
from ltbench.losses import cross_entropy, label_aware_smoothing, label_smoothing
from ltbench.losses.label_aware_smoothing import Shape
from ltbench.methods.contract import LATER, Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec, build_backbone


class MiSLASHParams(HParams):
    """Hyper-parameters of MiSLAS."""

    alpha: float = Field(0.2, gt=0, description="of mixup's Beta(alpha, alpha) in stage 1")
    smooth_head: float = Field(0.3, ge=0, le=1, description="smoothing of the largest class")
    smooth_tail: float = Field(0.0, ge=0, le=1, description="smoothing of the smallest class")
    shape: Shape = Field("concave", description="shape of the smoothing between the two")
    power: float = Field(
        1.0,
        gt=0,
        description="exponent of the shape exp",
        json_schema_extra=LATER | {"only_with": {"shape": "exp"}},
    )
    shift_bn: bool = Field(
        True, description="whether BatchNorm uses and updates batch statistics in stage 2"
    )
    classifier_lr: float = Field(
        0.05, ge=0, description="learning rate of the classifier, relative to that of the scales"
    )


class MiSLAS(Method):
    """mixup, then a classifier trained on balanced batches with smoothed labels."""

    title = "MiSLAS"
    paper = Paper(
        title="Improving Calibration for Long-Tailed Recognition",
        authors="Zhisheng Zhong, Jiequan Cui, Shu Liu, Jiaya Jia",
        venue="CVPR",
        year=2021,
        arxiv="2104.00466",
    )
    category = "decoupled"
    stages = (
        Stage("mixup"),
        Stage(
            "smoothing",
            samplers=("class_balanced",),
            recipe_stage="stage2",
            passes=0,
            forward_passes=1,
        ),
    )
    batch_dependence = "gathered"
    oracle = "mislas_stage2"
    HParams = MiSLASHParams
    hparams: MiSLASHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with a learnable scale per class."""
        backbone, width = build_backbone(spec)
        return Network(backbone, LearnableScale(width, spec.classes))

    def on_stage_start(self, stage: Stage) -> None:
        """Freeze the scales in the first stage, the backbone in the second."""
        if stage.name == "mixup":
            cast("LearnableScale", self.network.classifier).scale.requires_grad = False
        else:
            self.freeze(self.network.backbone, update_bn=self.hparams.shift_bn)

    def lr_scale(self, parameter: str) -> float:
        """Return a parameter's learning rate, relative to the recipe's."""
        slow = self.stage.name == "smoothing" and not parameter.endswith("scale")
        return self.hparams.classifier_lr if slow else 1.0

    def training_loss(self, batch: Batch) -> Loss:
        """Return the loss of mixup, or that of label-aware smoothing."""
        hparams = self.hparams
        if self.stage.name == "mixup":
            mixed = mixup(batch, hparams.alpha, self.rng)
            logits = self.network(mixed.images)
            return mixed.loss(lambda labels: cross_entropy(logits, labels))
        smoothing = label_smoothing(
            self.counts, hparams.smooth_head, hparams.smooth_tail, hparams.shape, hparams.power
        )
        return label_aware_smoothing(self.network(batch.images), batch.labels, smoothing)
