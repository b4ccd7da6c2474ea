"""mixup: training on convex combinations of pairs of images and of their labels.

Zhang, Cisse, Dauphin, Lopez-Paz, "mixup: Beyond Empirical Risk Minimization", ICLR 2018
(arXiv:1710.09412).

    x~ = lambda x_i + (1 - lambda) x_j                                     implemented
    y~ = lambda y_i + (1 - lambda) y_j, lambda from Beta(alpha, alpha)      implemented

As in the authors' code a batch has one lambda, partners are a permutation of the batch, and the two
labels' losses are mixed, which for cross-entropy is the loss of the mixed label. The permutation is
of the global batch: partners may be on other ranks.
"""

from pydantic import Field

from ltbench.augment import mix, mixup
from ltbench.losses import cross_entropy
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper


class MixupHParams(HParams):
    """Hyper-parameters of mixup."""

    alpha: float = Field(
        0.2, gt=0, description="of Beta(alpha, alpha); a larger one mixes more evenly"
    )


class Mixup(Method):
    """Cross-entropy on mixed images."""

    title = "mixup"
    paper = Paper(
        title="mixup: Beyond Empirical Risk Minimization",
        authors="Hongyi Zhang, Moustapha Cisse, Yann N. Dauphin, David Lopez-Paz",
        venue="ICLR",
        year=2018,
        arxiv="1710.09412",
    )
    category = "augmentation"
    batch_dependence = "gathered"
    oracle = "mix_family"
    HParams = MixupHParams
    hparams: MixupHParams

    def training_loss(self, batch: Batch) -> Loss:
        """Return the mixed loss of mixed images."""
        images, partners, share = mixup(batch, self.hparams.alpha, self.rng)
        logits = self.network(images)
        return mix(cross_entropy(logits, batch.labels), cross_entropy(logits, partners), share)
