"""RIDE with a router: easy samples use one expert, harder ones more.

Wang, Lian, Miao, Liu, Yu, "Long-tailed Recognition by Routing Diverse Distribution-Aware Experts",
ICLR 2021 (arXiv:2010.01809), section 3.3.

    r_i = W_2 [S(W_1 x / ||x||), largest means of z_1 .. z_i]       implemented
    weighted binary cross-entropy of r_i                            implemented
    a further expert is used while sigmoid(r_i) > 0.5               implemented

The second stage of a trained RIDE, whose network is fixed. As in the authors' code BatchNorm's
statistics are fixed too; the target of r_i is 1 where the first i experts together are wrong and
the first j, for some j > i, are right; W_2 is the same for all i; and batches are class-balanced.
Their second stage has 5 epochs with batch size 512 and a cosine from learning rate 0.01.

`predict` computes all experts and averages those that the router selects: predictions are those of
dynamic inference, its speed is not. The network is that of `ride`.
"""

from typing import cast

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ltbench.core.distributed import global_mean
from ltbench.methods.contract import Batch, HParams, Loss, Method, Stage
from ltbench.methods.papers import RIDE_PAPER
from ltbench.networks import Network, NetworkSpec
from ltbench.networks.expert_router import ExpertRouter
from ltbench.networks.multi_expert import ExpertBackbone, build_cosine_experts


class RIDERouterHParams(HParams):
    """Hyper-parameters of the router.

    `experts`, `reduced` and `scale` must be those of the trained RIDE.
    """

    experts: int = Field(3, ge=2, description="number of experts")
    reduced: bool = Field(
        True, description="whether the experts' stages of a ResNet have 3/4 of the channels"
    )
    scale: float = Field(30.0, gt=0, description="factor of the cosines (s)")
    top: int = Field(30, ge=1, description="number of largest logits in the router's input")
    positive_weight: float = Field(
        100.0, gt=0, description="weight of samples that need a further expert"
    )


class RIDERouter(Method):
    """A router on fixed experts."""

    title = "RIDE + router"
    paper = RIDE_PAPER
    category = "ensemble"
    stages = (
        Stage(
            "router",
            samplers=("class_balanced",),
            recipe_stage="stage2",
            passes=0,
            forward_passes=1,
        ),
    )
    init_from = "ride"
    oracle = "ride"
    HParams = RIDERouterHParams
    hparams: RIDERouterHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return RIDE's network, and build the router."""
        hparams = self.hparams
        network = build_cosine_experts(spec, hparams.experts, reduced=hparams.reduced)
        width = cast("ExpertBackbone", network.backbone).width
        self.router = ExpertRouter(width, hparams.experts, min(hparams.top, spec.classes))
        return network

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - the only stage
        """Freeze the experts."""
        self.freeze(self.network)

    def experts(self, images: Tensor) -> tuple[Tensor, Tensor]:
        """Return the experts' logits and the routing logits.

        Args:
            images: [B, C, H, W].

        Returns:
            [E, B, classes] and [E - 1, B].
        """
        features = self.network.features(images)
        logits = self.hparams.scale * self.network.classifier(features)
        return logits, self.router(features, logits)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the weighted binary cross-entropy of the routing logits."""
        logits, routes = self.experts(batch.images)
        right = logits.cumsum(dim=0).argmax(dim=2) == batch.labels  # [E, B], of the first experts
        later = torch.stack([right[i:].any(dim=0) for i in range(1, len(right))])
        losses = F.binary_cross_entropy_with_logits(
            routes,
            (~right[:-1] & later).to(routes.dtype),
            pos_weight=routes.new_tensor(self.hparams.positive_weight),
            reduction="none",
        )
        return global_mean(losses.flatten())

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return the mean logits [B, classes] of each image's selected experts."""
        logits, routes = self.experts(images)
        selected = torch.cat([torch.ones_like(routes[:1]), (routes > 0).to(routes.dtype)])
        selected = selected.cumprod(dim=0)  # [E, B]
        return (selected[..., None] * logits).sum(dim=0) / selected.sum(dim=0)[:, None]
