"""SHIKE: experts of different depth that teach each other the hardest classes.

Jin, Li, Lu, Cheung, Wang, "Long-Tailed Visual Recognition via Self-Heterogeneous Integration with
Knowledge Excavation", CVPR 2023 (arXiv:2304.01279).

    expert k: last maps times a projection of shallow ones                          implemented
    L = sum_k CE(z_k) + alpha KL(r || q_k) + beta sum_(j != k) KL(p_j || p_k)       implemented
    r: the experts' largest logits of other classes, the mean for the hardest       implemented
    second stage: new classifiers alone, sum_k CE(z_k + log n)                      implemented
    test: the mean of z_k                                                           implemented

Ours is the form of the authors' code: both divergences are means over images and classes, a C-th of
the usual one, and have gradients on both sides; alpha is 10, beta 1. The label keeps a logit of 0
in the teacher r, and one of -30 in q_k, the softmax of z_k over the other classes. Classifiers are
cosines times 30.

Where ours is not theirs: the shortcuts of our CIFAR ResNets have no parameters, theirs have
convolutions; a shared stage whose size is rounded down (FastNet) has its projected maps averaged
to the size of the last ones. The second stage has the recipe's epochs of a classifier (theirs the
last 20 of 200), and leaves BatchNorm's statistics as they are; theirs go on moving. They train with
AutoAugment, a warm-up to 0.15 and a cosine, and a weight decay of 5e-4: ours is the recipe's.
For ten classes alpha and beta are a tenth (configs/methods/shike.yaml), so that an image has the
weights that it has in theirs with a hundred. Backbones without stages have no shallow maps: the
experts differ in their classifiers alone.
"""

from functools import partial
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import CosineClassifier
from ltbench.losses import balanced_softmax, cross_entropy, hardest_negative, mutual_distillation
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec
from ltbench.networks.multi_expert import ExpertClassifiers
from ltbench.networks.shallow_experts import ShallowExperts, build_shallow_experts


class SHIKEHParams(HParams):
    """Hyper-parameters of SHIKE."""

    experts: int = Field(3, ge=1, description="number of experts")
    hardest: float = Field(10.0, ge=0, description="weight of the hardest classes (alpha)")
    distillation: float = Field(1.0, ge=0, description="weight of mutual distillation (beta)")
    scale: float = Field(30.0, gt=0, description="factor of the cosines")


class SHIKE(Method):
    """Experts with mutual distillation, then new classifiers with balanced softmax."""

    title = "SHIKE"
    paper = Paper(
        title="Long-Tailed Visual Recognition via Self-Heterogeneous Integration with Knowledge "
        "Excavation",
        authors="Yan Jin, Mengke Li, Yang Lu, Yiu-ming Cheung, Hanzi Wang",
        venue="CVPR",
        year=2023,
        arxiv="2304.01279",
    )
    category = "ensemble"
    stages = (
        Stage("experts"),
        Stage("classifiers", recipe_stage="stage2", passes=0, forward_passes=1),
    )
    oracle = "shike"
    HParams = SHIKEHParams
    hparams: SHIKEHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return experts on shallow features with cosine classifiers."""
        backbone = build_shallow_experts(spec, self.hparams.experts)
        return Network(backbone, self.new_classifiers(backbone.width))

    def new_classifiers(self, width: int) -> ExpertClassifiers:
        """Return a cosine classifier for each expert."""
        new = partial(CosineClassifier, width, self.spec.classes, self.hparams.scale)
        return ExpertClassifiers(new() for _ in range(self.hparams.experts))

    def on_stage_start(self, stage: Stage) -> None:
        """Freeze the experts and make new classifiers in the second stage."""
        if stage.name == "classifiers":
            backbone = cast("ShallowExperts", self.network.backbone)
            self.freeze(backbone)
            new = self.new_classifiers(backbone.width)
            self.network.classifier.load_state_dict(new.state_dict())

    def training_loss(self, batch: Batch) -> Loss:
        """Return the losses of the experts, or of their new classifiers."""
        return self.expert_losses(self.network(batch.images), batch.labels)

    def expert_losses(self, logits: Tensor, labels: Tensor) -> Loss:
        """Return the losses of logits [E, B, C] with labels [B]."""
        hparams, classes = self.hparams, self.spec.classes
        if self.stage.name == "classifiers":
            return torch.stack([balanced_softmax(z, labels, self.counts) for z in logits]).sum()
        return {
            "classes": torch.stack([cross_entropy(z, labels) for z in logits]).sum(),
            "hardest": hparams.hardest * hardest_negative(logits, labels) / classes,
            "distillation": hparams.distillation * mutual_distillation(logits) / classes,
        }

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:
        """Return the mean of the experts' logits [B, classes]."""
        return super().predict(images, target_prior).mean(dim=0)
