"""Seesaw loss: negative gradients balanced by class size and wrong predictions.

They are smaller for smaller classes, and larger for wrong predictions.

Wang, Zhang, Zang, Cao, Pang, Gong, Chen, Liu, Loy, Lin, "Seesaw Loss for Long-Tailed Instance
Segmentation", CVPR 2021 (arXiv:2008.10032).

    L = -log( exp(z_y) / (exp(z_y) + sum_{j != y} M_yj K_yj exp(z_j)) )               implemented
    mitigation M_yj = min(1, N_j / N_y)^p                                             implemented
    N_j, images of class j in the batches so far, the present one too                 implemented
    compensation K_yj = max(1, s_j / s_y)^q, s = softmax(z)                           implemented
    normalized linear activation: tau cos(w_j, x)        implemented: `classifier: cosine`
    objectness branch, mask head                                      left out: for segmentation

From the authors' code: s_y is at least 0.01, s is constant for the gradient, N starts at zero, and
a class without images so far counts as one. The test uses the plain logits z.

Where ours is not theirs: N counts the images of all devices, theirs those of each one; it is kept
in double precision. Their normalized classifier has a bias, ours has none; it is an option, as
their code for image classification is of the loss alone.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import CosineClassifier
from ltbench.core.distributed import all_sum
from ltbench.losses import seesaw
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper
from ltbench.networks import Network, NetworkSpec, build_backbone


class SeesawHParams(HParams):
    """Hyper-parameters of the seesaw loss."""

    p: float = Field(0.8, ge=0, description="strength of the mitigation by class size")
    q: float = Field(2.0, ge=0, description="strength of the compensation of wrong predictions")
    classifier: Literal["linear", "cosine"] = Field(
        "linear", description="linear, or scaled cosines as in the paper's tables"
    )
    scale: float = Field(
        20.0,
        gt=0,
        description="factor of the cosines (tau)",
        json_schema_extra={"only_with": {"classifier": "cosine"}},
    )


class Seesaw(Method):
    """Cross-entropy with negative gradients balanced by class size and by predictions."""

    title = "Seesaw loss"
    paper = Paper(
        title="Seesaw Loss for Long-Tailed Instance Segmentation",
        authors="Jiaqi Wang, Wenwei Zhang, Yuhang Zang, Yuhang Cao, Jiangmiao Pang, Tao Gong, "
        "Kai Chen, Ziwei Liu, Chen Change Loy, Dahua Lin",
        venue="CVPR",
        year=2021,
        arxiv="2008.10032",
    )
    category = "cost-sensitive"
    batch_dependence = "gathered"
    oracle = "seesaw"
    HParams = SeesawHParams
    hparams: SeesawHParams
    seen: Tensor

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network; register the images seen of each class."""
        self.register_buffer("seen", torch.zeros(spec.classes, dtype=torch.float64))
        if self.hparams.classifier == "linear":
            return super().build_network(spec)
        backbone, width = build_backbone(spec)
        return Network(backbone, CosineClassifier(width, spec.classes, self.hparams.scale))

    def training_loss(self, batch: Batch) -> Loss:
        """Return the seesaw loss, and count the images of the batch."""
        self.seen.add_(all_sum(F.one_hot(batch.labels, self.spec.classes).sum(dim=0)))
        logits = self.network(batch.images)
        return seesaw(logits, batch.labels, self.seen, self.hparams.p, self.hparams.q)
