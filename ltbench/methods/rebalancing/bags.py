"""BAGS, balanced group softmax: classes compete with those of similar size alone.

Li, Wang, Kang, Tang, Wang, Li, Feng, "Overcoming Classifier Imbalance for Long-Tail Object
Detection with Balanced Group Softmax", CVPR 2020 (arXiv:2006.10408), section 4.

    groups s_n^l <= n_c < s_n^h of classes, with s = 0, 10, 100, 1000, infinity     implemented
    an output "others" in each group, the target of other groups' samples           implemented
    L = -sum_n sum_(j in G_n) y_j log p_j, p the softmax within a group             implemented
    "others" of a batch at random, beta = 8 for each sample of the group            implemented
    probabilities within groups, without "others", in the test                      implemented
    group 0 of background and foreground, whose probability is a factor             left out
    classifier of a trained softmax network anew, all else fixed                    implemented

As in the authors' code each group's loss is a mean over its samples and "others", and a group
without samples in the batch has no loss. Batches are instance-balanced, and statistics of BatchNorm
those of stage 1. Groups without classes are dropped: with equal counts there is one group.

Where ours is not theirs: without proposals there is no background, so that "others" are images of
other classes; epochs and rates are those of the stage-2 recipe. Probabilities of the classes do not
sum to one; in calibration errors they are divided by their sum. It is a second stage on a frozen
backbone, to be compared with cRT rather than with softmax.
"""

from pydantic import Field, PositiveInt
from torch import Tensor, nn

from ltbench.classifiers import linear
from ltbench.losses import counted_samples, group_log_softmax, group_softmax, size_groups
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Stage
from ltbench.networks import Network, NetworkSpec, build_backbone


class BAGSHParams(HParams):
    """Hyper-parameters of balanced group softmax."""

    thresholds: tuple[PositiveInt, ...] = Field(
        (10, 100, 1000), description="images of a class from which on it is in a further group"
    )
    ratio: float = Field(
        8.0, ge=0, description='samples of "others" for each sample of a group\'s classes (beta)'
    )


class BAGS(Method):
    """A new classifier in groups of classes, on a frozen backbone."""

    title = "BAGS"
    paper = Paper(
        title="Overcoming Classifier Imbalance for Long-Tail Object Detection with Balanced Group "
        "Softmax",
        authors="Yu Li, Tao Wang, Bingyi Kang, Sheng Tang, Chunfeng Wang, Jintao Li, Jiashi Feng",
        venue="CVPR",
        year=2020,
        arxiv="2006.10408",
    )
    category = "re-sampling"
    stages = (Stage("classifier", recipe_stage="stage2", passes=0, forward_passes=1),)
    init_from = "softmax"
    batch_dependence = "gathered"
    oracle = "bags"
    HParams = BAGSHParams
    hparams: BAGSHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network whose classifier has an output "others" for each group."""
        self.groups: Tensor
        groups = size_groups(self.counts, self.hparams.thresholds)
        self.register_buffer("groups", groups, persistent=False)
        self.others = int(groups.max()) + 1
        backbone, width = build_backbone(spec)
        return Network(backbone, linear(width, self.others + spec.classes))

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - the only stage
        """Freeze the backbone."""
        self.freeze(self.network.backbone)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy within groups."""
        numbers = self.rng.uniform(batch.labels, self.others)
        counted = counted_samples(batch.labels, self.groups, numbers, self.hparams.ratio)
        return group_softmax(self.network(batch.images), batch.labels, self.groups, counted)

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return log-probabilities within groups [B, classes]."""
        return group_log_softmax(self.network(images), self.groups)[:, self.others :]
