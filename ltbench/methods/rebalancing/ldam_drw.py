"""LDAM with deferred re-balancing: larger margins for smaller classes, late class weights.

Cao, Wei, Gaidon, Arechiga, Ma, "Learning Imbalanced Datasets with Label-Distribution-Aware Margin
Loss", NeurIPS 2019 (arXiv:1906.07413).

    Delta_j = K / n_j^(1/4), K such that the largest is `max_margin`       implemented
    L = -log( exp(z_y - Delta_y) / (exp(z_y - Delta_y) + sum_{j != y} exp(z_j)) )    implemented
    hinge form of the same margins                left out: the authors train with the form above
    algorithm 1, deferred re-weighting (DRW)      implemented: from `deferred_from_epoch` on
    deferred re-sampling (DRS)                    implemented: `deferred: drs`

The paper normalizes features and class weights; its code multiplies the cosines by s = 30 after
the margin is subtracted, inside the loss. So does ours; logits in the test are 30 times the
cosines. Algorithm 1 weighs by inverse frequency, the code by the effective number (beta 0.9999)
with a mean that divides by the sum of weights: ours is the code's form.
"""

from collections.abc import Mapping
from typing import ClassVar, Literal

from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import CosineClassifier
from ltbench.losses import effective_number_weights, ldam
from ltbench.methods.contract import Batch, Category, EpochDraw, HParams, Loss, Method, Paper
from ltbench.networks import Network, NetworkSpec, build_backbone


class LDAMDRWHParams(HParams):
    """Hyper-parameters of LDAM-DRW."""

    max_margin: float = Field(0.5, ge=0, description="margin of the smallest class, on cosines")
    scale: float = Field(30.0, gt=0, description="factor of the cosines (s)")
    beta: float = Field(
        0.9999,
        ge=0,
        lt=1,
        description="of effective-number weights, from the deferred epoch on",
        json_schema_extra={"only_with": {"deferred": "drw"}},
    )
    deferred: Literal["none", "drw", "drs"] = Field(
        "drw",
        description="deferred re-balancing: none, class weights, or class-balanced sampling",
    )


class LDAMDRW(Method):
    """Class margins on a cosine classifier, with deferred re-balancing."""

    title = "LDAM-DRW"
    paper = Paper(
        title="Learning Imbalanced Datasets with Label-Distribution-Aware Margin Loss",
        authors="Kaidi Cao, Colin Wei, Adrien Gaidon, Nikos Arechiga, Tengyu Ma",
        venue="NeurIPS",
        year=2019,
        arxiv="1906.07413",
    )
    category: ClassVar[Category] = "re-margining"
    batch_dependence = "gathered"
    oracle = "ldam"
    HParams: ClassVar[type[LDAMDRWHParams]] = LDAMDRWHParams
    hparams: LDAMDRWHParams

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with a cosine classifier."""
        backbone, width = build_backbone(spec)
        return Network(backbone, CosineClassifier(width, spec.classes))

    def switched_on(self, kind: Literal["drw", "drs"]) -> bool:
        """Return whether a kind of deferred re-balancing is active."""
        return self.hparams.deferred == kind and self.progress.deferred

    def epoch_indices(self, draw: EpochDraw) -> Mapping[str, Tensor]:
        """Return the training images of an epoch, class-balanced under DRS."""
        if not self.switched_on("drs"):
            return super().epoch_indices(draw)
        return {"class_balanced": draw.sampler("class_balanced")}

    def training_loss(self, batch: Batch) -> Loss:
        """Return the margin loss."""
        return self.margin_loss(self.network(batch.images), batch.labels)

    def margin_loss(self, cosines: Tensor, labels: Tensor) -> Tensor:
        """Return the margin loss, with class weights if DRW is active.

        Args:
            cosines: [B, C].
            labels: [B].
        """
        hparams, weights = self.hparams, None
        if self.switched_on("drw"):
            weights = effective_number_weights(self.counts, hparams.beta)
        return ldam(cosines, labels, self.counts, hparams.max_margin, hparams.scale, weights)

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:
        """Return scaled cosines [B, classes] of images."""
        return self.hparams.scale * super().predict(images, target_prior)
