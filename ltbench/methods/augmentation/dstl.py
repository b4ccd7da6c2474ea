"""DSTL: fine-tuning of a trained network on a nearly balanced subset.

Cui, Song, Sun, Howard, Belongie, "Large Scale Fine-Grained Categorization and Domain-Specific
Transfer Learning", CVPR 2018 (arXiv:1806.06193).

    train on all images                                                      `softmax`, stage 1
    fine-tune all layers on a balanced subset, at a small learning rate      implemented
    the same at a larger image size                                          left out
    similarity exp(-gamma EMD) of two domains, to choose source classes      left out: another task

The paper's subset is a part of the validation images, which is nearly balanced; its rates and
lengths are unknown to us. Where ours is not theirs: the subset is of the training images, at most k
of a class, where k is the size of a small class (the lower `quantile` of the class sizes, at least
`least`), and smaller classes have all of theirs; it is the same for all seeds. Fine-tuning takes a
tenth of stage 1's epochs at a tenth of its rate, along the same schedule; an epoch has as many
steps as one of stage 1, so that the subset is seen several times. BatchNorm is trained on.

Its gains in the paper came from larger images too: without them it is a baseline, beside cRT, that
trains all layers.
"""

from collections.abc import Mapping

from pydantic import Field
from torch import Tensor

from ltbench.losses import cross_entropy
from ltbench.methods.contract import Batch, EpochDraw, HParams, Loss, Method, Paper, Stage


class DSTLHParams(HParams):
    """Hyper-parameters of DSTL."""

    quantile: float = Field(
        0.25, ge=0, le=1, description="of the class sizes: images of a class in the subset"
    )
    least: int = Field(20, ge=1, description="images of a class in the subset if that is smaller")


class DSTL(Method):
    """A trained network fine-tuned on a nearly balanced subset."""

    title = "DSTL"
    paper = Paper(
        title="Large Scale Fine-Grained Categorization and Domain-Specific Transfer Learning",
        authors="Yin Cui, Yang Song, Chen Sun, Andrew Howard, Serge Belongie",
        venue="CVPR",
        year=2018,
        arxiv="1806.06193",
    )
    category = "transfer"
    stages = (Stage("finetuning", epochs_scale=0.1, lr_scale=0.1),)
    init_from = "softmax"
    required_init_tensors = ("weight",)
    HParams = DSTLHParams
    hparams: DSTLHParams

    @property
    def per_class(self) -> int:
        """Largest number of images of a class in the subset."""
        sizes = self.counts.sort().values
        rank = int(self.hparams.quantile * (len(sizes) - 1))
        return max(self.hparams.least, int(sizes[rank]))

    def epoch_indices(self, draw: EpochDraw) -> Mapping[str, Tensor]:
        """Return passes over the subset."""
        return {"subset": draw.sampler(f"capped(per_class={self.per_class})")}

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy."""
        return cross_entropy(self.network(batch.images), batch.labels)
