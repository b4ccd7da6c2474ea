"""Influence-balanced loss: images weighted by their inverse influence on the classifier.

Park, Lim, Jeon, Choi, "Influence-Balanced Loss for Imbalanced Visual Classification", ICCV 2021
(arXiv:2110.02444).

    influence of an image: ||f(x) - y||_1 ||h||_1, with h the classifier's input     implemented
    L = (1/m) sum lambda_y L(y, f(x)) / (||f(x) - y||_1 ||h||_1)                     implemented
    lambda_c = alpha n_c^(-1) / sum_k n_k^(-1)                                       implemented
    normal training by cross-entropy, then balancing by L                            implemented
    IB + CB: lambda_c by the effective number             implemented: `weights: effective`
    IB + Focal: a focusing factor                         implemented: `gamma: 1`
    other losses in the first phase                       left out: the authors' scripts have none

From their code: 0.001 is added to the influence, the class weights have the sum C alpha, the
gradient passes through the influence, and from the switch on, at half of the epochs, the learning
rate is a hundredth, with the recipe's own steps on top.

Where ours is not theirs: the switch is a share of the epochs, not epoch 100 of 200; ||f(x) - y||_1
is computed as 2 (1 - f_y), the same number; features in half precision are summed in single.
"""

from typing import Literal, cast

from pydantic import Field

from ltbench.losses import (
    cross_entropy,
    effective_number_weights,
    influence_balanced,
    inverse_weights,
    scaled_to_classes,
)
from ltbench.methods.contract import Batch, HParams, Loss, Method, Network, Paper


class IBLossHParams(HParams):
    """Hyper-parameters of the influence-balanced loss."""

    alpha: float = Field(1000.0, gt=0, description="factor of the balanced loss")
    weights: Literal["inverse", "effective"] = Field(
        "inverse", description="class weights: inverse frequency, or effective numbers (IB + CB)"
    )
    gamma: float = Field(0.0, ge=0, description="focusing exponent; 1 in IB + Focal, 0 in IB")
    start: float = Field(
        0.5, ge=0, le=1, description="share of the epochs after which the loss is balanced"
    )
    lr: float = Field(
        0.01, gt=0, description="learning rate from then on, relative to the recipe's"
    )


class IBLoss(Method):
    """Cross-entropy, and from half of the epochs on divided by the influence."""

    title = "IB loss"
    paper = Paper(
        title="Influence-Balanced Loss for Imbalanced Visual Classification",
        authors="Seulki Park, Jongin Lim, Younghan Jeon, Jin Young Choi",
        venue="ICCV",
        year=2021,
        arxiv="2110.02444",
    )
    category = "cost-sensitive"
    oracle = "ib_loss"
    HParams = IBLossHParams
    hparams: IBLossHParams

    @property
    def is_balancing(self) -> bool:
        """Whether the second phase has begun."""
        return self.progress.fraction >= self.hparams.start

    def lr_multiplier(self) -> float:
        """Return the factor of the learning rates in this epoch."""
        return self.hparams.lr if self.is_balancing else 1.0

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy, influence-balanced in the second phase."""
        network, hparams = cast("Network", self.network), self.hparams
        features = network.features(batch.images)
        logits = network.classifier(features)
        if not self.is_balancing:
            return cross_entropy(logits, batch.labels)
        if hparams.weights == "inverse":
            weights = scaled_to_classes(inverse_weights(self.counts))
        else:
            weights = effective_number_weights(self.counts)
        return influence_balanced(
            logits, batch.labels, features, weights, hparams.alpha, hparams.gamma
        )
