"""Softmax equalization loss: tail classes ignore most gradients of other classes' images.

Tan, Wang, Li, Li, Ouyang, Yin, Yan, "Equalization Loss for Long-Tailed Object Recognition",
CVPR 2020 (arXiv:2003.05176).

    L = -log( exp(z_y) / sum_k w_k exp(z_k) )                            implemented
    w_k = 1 - beta [pi_k < lambda] (1 - [k = y]), beta = 1 with probability gamma    implemented
    sigmoid form                                             in `sigmoid_equalization`

pi_k is the share of class k in the training images. The authors have published no code for this
form; ours is that of the survey's code, which gave its row "ESQL": beta is drawn for each image and
class, and pi_k = lambda counts as tail. To be comparable between datasets `threshold` is lambda C
with C the number of classes, the size of a class relative to the mean: 0.43 is the survey's 4.3e-4
on the 1,000 classes of ImageNet-LT, 0.3 the paper's 3e-3 on CIFAR-100-LT. It is below 1, so that
with equal counts no class is tail, and the loss is cross-entropy bit for bit.
"""

from pydantic import Field

from ltbench.losses import equalization
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper


class EqualizationHParams(HParams):
    """Hyper-parameters of the softmax equalization loss."""

    gamma: float = Field(
        0.9, ge=0, le=1, description="probability that a tail class ignores an image"
    )
    threshold: float = Field(
        0.43, ge=0, lt=1, description="size of the largest tail class, relative to the mean size"
    )


class Equalization(Method):
    """Cross-entropy with fewer negative gradients on tail classes."""

    title = "ESQL"
    paper = Paper(
        title="Equalization Loss for Long-Tailed Object Recognition",
        authors="Jingru Tan, Changbao Wang, Buyu Li, Quanquan Li, Wanli Ouyang, Changqing Yin, "
        "Junjie Yan",
        venue="CVPR",
        year=2020,
        arxiv="2003.05176",
    )
    category = "cost-sensitive"
    reduces_to = "softmax"
    oracle = "softmax_eql"
    oracle_by_others = True
    HParams = EqualizationHParams
    hparams: EqualizationHParams

    def training_loss(self, batch: Batch) -> Loss:
        """Return the equalization loss."""
        classes = self.spec.classes
        uniform = self.rng.uniform(batch.labels, classes)  # [B, classes]
        logits = self.network(batch.images)
        share = self.hparams.threshold / classes
        return equalization(logits, batch.labels, self.counts, uniform, self.hparams.gamma, share)
