"""CMO, context-rich minority over-sampling: boxes of rare classes on common ones.

Park, Hong, Heo, Yun, Choi, "The Majority Can Help the Minority: Context-rich Minority Oversampling
for Long-tailed Classification", CVPR 2022 (arXiv:2112.00412).

    x~ = M x_b + (1 - M) x_f, y~ = lambda y_b + (1 - lambda) y_f        implemented
    backgrounds x_b: instance-balanced                                  implemented
    foregrounds x_f: q(r, k) ~ 1 / n_k^r, r = 1                         implemented
    lambda from Beta(1, 1), box M and its lambda as in CutMix           implemented

As in the authors' code 1 / n_k^r is the weight of an image, not that of a class, so that with r = 1
foregrounds are class-balanced; a batch has one box and is mixed with probability 0.5, and the first
and last epochs are not mixed. Where ours is not theirs: the latter are 1.5 % of the epochs at each
end (`plain`), which are their 4 and 3 of 200: the first always, and none at the end of fewer than
67; foregrounds are read for every step, of which half have no use for them. Their longer schedules
with RandAugment are a matter of the recipe.

The paper combines CMO with several losses; ours is by default the cross-entropy with deferred
weights (CE-DRW + CMO), `balanced_softmax` and `ldam` are two others of theirs. `softmax` is CMO
alone.
"""

from collections.abc import Mapping
from typing import Any

from pydantic import Field
from torch import Tensor

from ltbench.augment import MixedBatch, cutmix, unmixed
from ltbench.losses import BaseLoss
from ltbench.methods.augmentation.cutmix import CutMixHParams
from ltbench.methods.augmentation.mixup import Mixup
from ltbench.methods.contract import EpochDraw, Paper, Stage


class CMOHParams(CutMixHParams):
    """Hyper-parameters of CMO."""

    probability: float = Field(0.5, ge=0, le=1, description="share of the batches that are mixed")
    power: float = Field(
        1.0, ge=0, description="of the inverse class size, an image's weight as a foreground (r)"
    )
    plain: float = Field(
        0.015, ge=0, le=0.5, description="share of the epochs at either end that are not mixed"
    )
    loss: BaseLoss = Field(
        "drw", description="loss that is mixed; drw and ldam weigh classes from the deferred epoch"
    )


class CMO(Mixup):
    """Loss on images with a box of a rarer class."""

    title = "CMO"
    paper = Paper(
        title="The Majority Can Help the Minority: Context-rich Minority Oversampling for "
        "Long-tailed Classification",
        authors="Seulki Park, Youngkyu Hong, Byeongho Heo, Sangdoo Yun, Jin Young Choi",
        venue="CVPR",
        year=2022,
        arxiv="2112.00412",
    )
    stages = (Stage("train", samplers=("instance", "class_balanced"), passes=0.5),)
    HParams = CMOHParams
    hparams: CMOHParams

    def epoch_indices(self, draw: EpochDraw) -> Mapping[str, Tensor]:
        """Return backgrounds, and foregrounds by inverse class size."""
        exponent = 1 - self.hparams.power
        return {
            "background": draw.sampler("instance"),
            "foreground": draw.sampler(f"power(exponent={exponent:.6f})"),
        }

    @property
    def mixes(self) -> bool:
        """Whether batches of this epoch are mixed."""
        epoch, epochs = self.progress.epoch, self.progress.epochs
        ends = self.hparams.plain * epochs
        return ends < epoch < epochs - ends

    def mixed(self, batch: Any) -> MixedBatch:
        """Return the backgrounds with boxes of the foregrounds, or as they are."""
        background, foreground = batch["background"], batch["foreground"]
        if not self.mixes or self.rng.shared(1) >= self.hparams.probability:
            return unmixed(background)
        images, labels = foreground.images, foreground.labels
        return cutmix(background, images, labels, self.hparams.alpha, self.rng)
