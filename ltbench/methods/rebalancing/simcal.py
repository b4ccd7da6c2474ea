"""SimCal: a trained classifier whose small classes are calibrated on balanced batches.

Wang, Li, Kang, Li, Liew, Tang, Hoi, Feng, "The Devil is in Classification: A Simple Framework for
Long-tail Instance Segmentation", ECCV 2020 (arXiv:2007.11978), section 4.

    bi-level sampling: 16 classes of a batch, then images of each                     implemented
    a copy of the trained head trained with cross-entropy, all else fixed             implemented
    p_c = p_c^cal for classes below T training images, else p_c^orig                  implemented
    proposals of the images, and as many of the background                            left out
    heads of two or three new layers in place of the copy                             left out

As in the authors' code classes of a batch, and images of a class, are drawn uniformly with
replacement, the backbone is in evaluation mode, weights do not decay, and p_c are not normalized
again; in calibration errors they are divided by their sum.

Where ours is not theirs: a batch has its size, shared by the 16 classes; epochs, rates and momentum
are those of the stage-2 recipe, theirs has no momentum. T is 100 images, theirs 100 or 300 objects
of LVIS; where fewer than a third of the classes are smaller, the calibrated ones are those smaller
than the largest third: with equal counts from 100 on none. Without proposals the method is cRT from
trained weights, with two heads, and is to be compared with that.
"""

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import linear
from ltbench.losses import cross_entropy
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec, build_backbone

THRESHOLD = 100
"""T for LVIS."""


def calibrated_classes(counts: Tensor, threshold: int | None = None) -> Tensor:
    """Return the classes that the calibrated classifier predicts.

    Args:
        counts: [C], training images per class.
        threshold: images from which on a class is not one of them (T). None for 100 or, where fewer
            than a third of the classes are smaller, the size of the smallest of the largest third.

    Returns:
        [C] bool.
    """
    if threshold is not None:
        return counts < threshold
    below = counts < THRESHOLD
    if 3 * int(below.sum()) >= len(counts):
        return below
    third = max(1, round(len(counts) / 3))
    return counts < counts.sort(descending=True).values[third - 1]


class SimCalHParams(HParams):
    """Hyper-parameters of SimCal."""

    threshold: int | None = Field(
        None,
        ge=0,
        description="images of a class from which on the trained classifier predicts it (T); null "
        "for 100, or the size of the largest third of the classes if few are smaller",
    )


class SimCal(Method):
    """A trained classifier, and a copy trained on with balanced batches."""

    title = "SimCal"
    paper = Paper(
        title="The Devil is in Classification: A Simple Framework for Long-tail Instance "
        "Segmentation",
        authors="Tao Wang, Yu Li, Bingyi Kang, Junnan Li, Junhao Liew, Sheng Tang, Steven Hoi, "
        "Jiashi Feng",
        venue="ECCV",
        year=2020,
        arxiv="2007.11978",
    )
    category = "re-sampling"
    stages = (
        Stage(
            "classifier",
            samplers=("bilevel(classes=16)",),
            recipe_stage="stage2",
            passes=0,
            forward_passes=1,
        ),
    )
    init_from = "softmax"
    required_init_tensors = ("weight",)
    HParams = SimCalHParams
    hparams: SimCalHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network, beside which stands the classifier that it starts from."""
        backbone, width = build_backbone(spec)
        self.original = linear(width, spec.classes)
        self.calibrated: Tensor
        calibrated = calibrated_classes(self.counts, self.hparams.threshold)
        self.register_buffer("calibrated", calibrated, persistent=False)
        return Network(backbone, linear(width, spec.classes))

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - the only stage
        """Keep a copy of the trained classifier; freeze it and the backbone."""
        self.original.load_state_dict(self.network.classifier.state_dict())
        self.freeze(self.original)
        self.freeze(self.network.backbone)

    def weight_decay_scale(self, parameter: str) -> float:  # noqa: ARG002
        """Return 0: the classifier does not decay."""
        return 0.0

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy."""
        return cross_entropy(self.network(batch.images), batch.labels)

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return log-probabilities [B, classes], of each class by its classifier."""
        features = self.network.features(images)
        heads = (self.network.classifier, self.original)
        calibrated, original = (head(features).log_softmax(dim=1) for head in heads)
        return torch.where(self.calibrated, calibrated, original)
