"""Focal loss: cross-entropy with smaller weights for well-classified images.

Lin, Goyal, Girshick, He, Dollar, "Focal Loss for Dense Object Detection", ICCV 2017
(arXiv:1708.02002).

    L = -(1 - p_y)^gamma log p_y                 (4)    implemented, with p = softmax(z)
    the same per class, p = sigmoid(+-z)         (4)    in `class_balanced`: form focal, beta 0
    L = -alpha_y (1 - p_y)^gamma log p_y         (5)    left out: class weights are other methods

The paper has a sigmoid per class and gamma 2; the survey of Zhang et al. (TPAMI 2023) and its code
have softmax probabilities, gamma 3 and a factor that is constant for the gradient. These gave the
survey's numbers and are our defaults.
"""

from pydantic import Field

from ltbench.losses import focal
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper


class FocalHParams(HParams):
    """Hyper-parameters of focal loss."""

    gamma: float = Field(
        3.0, ge=0, description="focusing exponent; 2 in the paper, 0 is cross-entropy"
    )
    detach: bool = Field(
        True, description="whether the factor is constant for the gradient; false in the paper"
    )


class Focal(Method):
    """Cross-entropy with a factor that falls with the label's probability."""

    title = "Focal"
    paper = Paper(
        title="Focal Loss for Dense Object Detection",
        authors="Tsung-Yi Lin, Priya Goyal, Ross Girshick, Kaiming He, Piotr Dollár",
        venue="ICCV",
        year=2017,
        arxiv="1708.02002",
    )
    category = "cost-sensitive"
    oracle = "focal"
    oracle_by_others = True
    HParams = FocalHParams
    hparams: FocalHParams

    def training_loss(self, batch: Batch) -> Loss:
        """Return the focal loss."""
        gamma, detach = self.hparams.gamma, self.hparams.detach
        return focal(self.network(batch.images), batch.labels, gamma, detach=detach)
