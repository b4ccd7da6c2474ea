"""De-confound-TDE: a causal classifier, and predictions without the mean feature's effect.

Tang, Huang, Zhang, "Long-Tailed Classification by Keeping the Good and Removing the Bad Momentum
Causal Effect", NeurIPS 2020 (arXiv:2009.12991).

    z = tau / K sum_k w_k . x_k / ((||w_k|| + gamma) ||x_k||), cross-entropy          implemented
    mean feature m_t = mu m_(t-1) + mean of the batch's features                      implemented
    TDE: z of x_k / ||x_k|| less alpha cos(x_k, m_k) m_k / ||m_k||                    implemented
    TDE with a background class, for detection                                        left out

Only the direction of the mean feature is used, so that it needs no factor (1 - mu). The features
are averaged over the global batch. On CIFAR the authors' mu is fixed; elsewhere their code raises
it from 0.9 towards 1 once the learning rate is below 0.02 (`mu_lr`).

The x_k are equal parts of the features. On CIFAR ResNets and FastNets each head has its own last
block and all of that block's features: the authors' ResNet-32 on CIFAR is BBN's, with two parallel
last blocks.
"""

from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import CausalNormClassifier
from ltbench.core.distributed import gather
from ltbench.core.types import SMALL_BACKBONES
from ltbench.losses import cross_entropy
from ltbench.methods.contract import LATER, Batch, HParams, Loss, Method, Paper
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.networks.multi_expert import build_branches


class CausalTDEHParams(HParams):
    """Hyper-parameters of De-confound-TDE."""

    heads: int = Field(2, ge=1, description="groups of features that are normalized separately (K)")
    scale: float = Field(16.0, gt=0, description="inverse temperature (tau)")
    gamma: float = Field(1 / 32, ge=0, description="added to the norms of class weights")
    mu: float = Field(0.9, ge=0, lt=1, description="decay of the moving mean feature")
    mu_lr: float = Field(
        0.0,
        ge=0,
        description="learning rate below which mu rises, to 1 at rate 0; with 0 it is fixed",
        json_schema_extra=LATER,
    )
    alpha: float = Field(
        3.0, ge=0, description="weight of the mean feature's effect that is removed at test time"
    )


class CausalTDE(Method):
    """Cross-entropy on a multi-head normalized classifier; its direct effect in tests."""

    title = "De-confound-TDE"
    paper = Paper(
        title="Long-Tailed Classification by Keeping the Good and Removing the Bad Momentum "
        "Causal Effect",
        authors="Kaihua Tang, Jianqiang Huang, Hanwang Zhang",
        venue="NeurIPS",
        year=2020,
        arxiv="2009.12991",
    )
    category = "classifier design"
    version = 2
    batch_dependence = "gathered"
    oracle = "causal_tde"
    HParams = CausalTDEHParams
    hparams: CausalTDEHParams
    network: Network
    mean: Tensor

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with the causal classifier; register the mean feature."""
        hparams = self.hparams
        if spec.backbone not in SMALL_BACKBONES:
            backbone, width = build_backbone(spec)
        else:
            backbone = build_branches(spec, hparams.heads)
            width = hparams.heads * backbone.width
        self.register_buffer("mean", torch.zeros(width))
        classifier = CausalNormClassifier(
            width, spec.classes, hparams.heads, hparams.scale, hparams.gamma
        )
        return Network(backbone, classifier)

    @property
    def mu(self) -> float:
        """Decay of the mean feature in this epoch."""
        mu, low = self.hparams.mu, self.hparams.mu_lr
        return 1 - (1 - mu) * self.progress.lr / low if self.progress.lr < low else mu

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy, and update the mean feature."""
        features = self.network.features(batch.images)
        self.mean.mul_(self.mu).add_(gather(features).mean(dim=0))
        return cross_entropy(self.network.classifier(features), batch.labels)

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:  # noqa: ARG002 - not used
        """Return the total direct effect [B, classes] of images."""
        classifier = cast("CausalNormClassifier", self.network.classifier)
        return classifier.direct_effect(
            self.network.features(images), self.mean, self.hparams.alpha
        )
