"""Remix: mixup whose labels favor rare classes.

Chou, Chang, Pan, Wei, Juan, "Remix: Rebalanced Mixup", ECCV 2020 workshops (arXiv:2007.03943).

    x~ = lambda x_i + (1 - lambda) x_j                                implemented
    y~ = lambda_y y_i + (1 - lambda_y) y_j                            implemented
    lambda_y = 0 if n_i / n_j >= kappa and lambda < tau               implemented
               1 if n_i / n_j <= 1 / kappa and 1 - lambda < tau       implemented
               lambda else                                            implemented
    with deferred re-weighting (DRW)                                  implemented
    with deferred re-sampling (DRS)                                   left out

n are class sizes. We know of no code by the authors; ours is held against two implementations by
others that agree. lambda_y is of each pair: a pair whose lambda_y is 0 or 1 has one label twice, so
that with any `loss` the two labels' losses are mixed as in `mixup`. Where ours is not theirs: with
deferred class weights each of the two means divides by the sum of its weights, that of
ntucllab/imbalanced-DL by the batch size; alpha is 1 on small images, as in both, and elsewhere that
of mixup; partners are a permutation of the global batch.
"""

from typing import Any

from pydantic import Field

from ltbench.augment import MixedBatch, relabel
from ltbench.losses import BaseLoss
from ltbench.methods.augmentation.mixup import Mixup, MixupHParams
from ltbench.methods.contract import Paper


class RemixHParams(MixupHParams):
    """Hyper-parameters of Remix."""

    ratio: float = Field(
        3.0, gt=1, description="of class sizes from which a pair has the rare label alone (kappa)"
    )
    threshold: float = Field(
        0.5, ge=0, le=1, description="share of the common image below which it is so (tau)"
    )
    loss: BaseLoss = Field(
        "drw", description="loss that is mixed; drw and ldam weigh classes from the deferred epoch"
    )


class Remix(Mixup):
    """mixup with rebalanced labels."""

    title = "Remix"
    paper = Paper(
        title="Remix: Rebalanced Mixup",
        authors="Hsin-Ping Chou, Shih-Chieh Chang, Jia-Yu Pan, Wei Wei, Da-Cheng Juan",
        venue="ECCV workshops",
        year=2020,
        arxiv="2007.03943",
    )
    reduces_to = "mixup"
    oracle_by_others = True
    HParams = RemixHParams
    hparams: RemixHParams

    def mixed(self, batch: Any) -> MixedBatch:
        """Return mixed images whose rare labels are favored."""
        hparams = self.hparams
        return relabel(super().mixed(batch), self.counts, hparams.ratio, hparams.threshold)
