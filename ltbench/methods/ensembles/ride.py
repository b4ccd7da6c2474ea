"""RIDE: experts with LDAM margins, made diverse by a divergence term.

Wang, Lian, Miao, Liu, Yu, "Long-tailed Recognition by Routing Diverse Distribution-Aware Experts",
ICLR 2021 (arXiv:2010.01809).

    L = sum_k LDAM(z_k) + lambda D(z_k)                                              implemented
    D: KL divergence of the experts, tau by class size                               implemented
    dynamic routing: `ride_router`; distillation from more experts: `ride_distill`

As in the authors' code the divergence is from the mean of the experts, a constant for the gradient:
KL(softmax(mean z / tau) || softmax(z_k / tau)) t^2 with t the mean of tau and lambda below 0.
LDAM's weights and the temperatures by class are switched on together in late epochs
(`deferred_from_epoch` of the recipe; epoch 160 of 200 on CIFAR). Their code multiplies cosines by
30 inside the network; so does `predict`, which averages the experts.

Experts share the stem and first stage of CIFAR ResNets and FastNets, the stem and first two stages
of timm's ResNets and ResNeXts; each has its own later stages, with three quarters of the channels
(`reduced`). ConvNeXts are split after the same stage, at full width; other backbones are shared as
a whole, and experts differ only in their classifiers. On CIFAR the authors use a weight decay of
5e-4 and Nesterov momentum; here both are the recipe's.
"""

from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.losses import class_temperatures, diversity, effective_number_weights, ldam
from ltbench.methods.contract import Batch, HParams, Loss, Method
from ltbench.methods.papers import RIDE_PAPER
from ltbench.networks import NetworkSpec
from ltbench.networks.multi_expert import build_cosine_experts


class RIDEHParams(HParams):
    """Hyper-parameters of RIDE; defaults of CIFAR-100-LT."""

    experts: int = Field(3, ge=1, description="number of experts; the paper has 2, 3 and 4")
    reduced: bool = Field(
        True, description="whether the experts' stages of a ResNet have 3/4 of the channels"
    )
    diversity: float = Field(-0.45, description="weight of the divergence (lambda)")
    temperature: float = Field(1.0, gt=0, description="temperature of the divergence")
    spread: float = Field(
        0.05,
        ge=0,
        le=1,
        description="how much the temperature depends on class size, from the deferred epoch on",
    )
    max_margin: float = Field(0.5, ge=0, description="margin of the smallest class, on cosines")
    scale: float = Field(30.0, gt=0, description="factor of the cosines (s)")
    beta: float = Field(
        0.9999, ge=0, lt=1, description="of effective-number weights, from the deferred epoch on"
    )


class RIDE(Method):
    """Experts with shared first stages, LDAM losses and a diversity term."""

    title = "RIDE"
    paper = RIDE_PAPER
    category = "ensemble"
    batch_dependence = "gathered"
    oracle = "ride"
    HParams: ClassVar[type[RIDEHParams]] = RIDEHParams
    hparams: RIDEHParams

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return experts with cosine classifiers."""
        return build_cosine_experts(spec, self.hparams.experts, reduced=self.hparams.reduced)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the experts' margin losses and the diversity term."""
        return self.expert_losses(self.network(batch.images), batch.labels)

    def expert_losses(self, cosines: Tensor, labels: Tensor) -> dict[str, Tensor]:
        """Return the losses of cosines [E, B, C] with labels [B]."""
        hparams, weights = self.hparams, None
        temperature = torch.tensor(hparams.temperature, device=cosines.device, dtype=torch.float64)
        if self.progress.deferred:
            weights = effective_number_weights(self.counts, hparams.beta)
            temperature = temperature * class_temperatures(self.counts, hparams.spread)
        margins = [
            ldam(each, labels, self.counts, hparams.max_margin, hparams.scale, weights)
            for each in cosines
        ]
        divergence = diversity(hparams.scale * cosines, temperature)
        return {"margin": torch.stack(margins).sum(), "diversity": hparams.diversity * divergence}

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:
        """Return the mean of the experts' scaled cosines [B, classes]."""
        return self.hparams.scale * super().predict(images, target_prior).mean(dim=0)
