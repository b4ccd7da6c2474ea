"""CutMix: images with a box of another one, and both labels.

Yun, Han, Oh, Chun, Choe, Yoo, "CutMix: Regularization Strategy to Train Strong Classifiers with
Localizable Features", ICCV 2019 (arXiv:1905.04899).

    x~ = M x_A + (1 - M) x_B, y~ = lambda y_A + (1 - lambda) y_B            (1)   implemented
    box M: center uniform, sides W, H times sqrt(1 - lambda)                (2)   implemented
    lambda from Beta(alpha, alpha), alpha = 1                                     implemented

As in the authors' code a batch has one box, is mixed with a probability, partners are a permutation
of the batch, lambda is that of the pixels once the box is cut at the image's borders, sides are
rounded down to even numbers of pixels, and the two labels' losses are mixed, which for
cross-entropy is the loss of the mixed label. Where ours is not theirs: the permutation is of the
global batch, partners may be on other ranks, and epochs are the recipe's; they train for 300.

Other losses (`loss`) are not in the paper; they are mixed as in `mixup`.
"""

from typing import Any

from pydantic import Field

from ltbench.augment import MixedBatch, cutmix, permuted, unmixed
from ltbench.methods.augmentation.mixup import Mixup, MixupHParams
from ltbench.methods.contract import Paper


class CutMixHParams(MixupHParams):
    """Hyper-parameters of CutMix."""

    alpha: float = Field(
        1.0, gt=0, description="of Beta(alpha, alpha), the share that remains; 1 is uniform"
    )
    probability: float = Field(1.0, ge=0, le=1, description="share of the batches that are mixed")


class CutMix(Mixup):
    """Cross-entropy on images with a box of another one."""

    title = "CutMix"
    paper = Paper(
        title="CutMix: Regularization Strategy to Train Strong Classifiers with Localizable "
        "Features",
        authors="Sangdoo Yun, Dongyoon Han, Seong Joon Oh, Sanghyuk Chun, Junsuk Choe, "
        "Youngjoon Yoo",
        venue="ICCV",
        year=2019,
        arxiv="1905.04899",
    )
    HParams = CutMixHParams
    hparams: CutMixHParams

    def mixed(self, batch: Any) -> MixedBatch:
        """Return a batch, with boxes of its permutation or as it is."""
        if self.rng.shared(1) >= self.hparams.probability:
            return unmixed(batch)
        images, labels = permuted(batch, self.rng)
        return cutmix(batch, images, labels, self.hparams.alpha, self.rng)
