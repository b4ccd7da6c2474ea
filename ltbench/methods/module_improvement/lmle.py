"""LMLE, large margin local embedding: quintuplets of images, and centroids of clusters.

Huang, Li, Loy, Tang, "Learning Deep Representation for Imbalanced Classification", CVPR 2016.

    embedding f of length 1, D = ||f_i - f_j||^2                                     implemented
    quintuplet of an anchor: p+ the farthest of its cluster, p- the nearest of its
        class in another cluster, p-- the farthest of its class, n the nearest of
        another class                                                                implemented
    L = [g1 + D(p+) - D(p-)]_+ + [g2 + D(p-) - D(p--)]_+ + [g3 + D(p--) - D(n)]_+    implemented
    anchors weighted by 1 / (size of their class in the batch)                       implemented
    clusters of a fixed size in each class, a small class is one                     implemented
    other images of a quintuplet from a random half of them                          implemented
    clusters and quintuplets anew in each of four rounds                             implemented
    batches with equal numbers of the classes                                        implemented
    prediction by k = 20 nearest centroids: the class with the largest margin
        min D(other classes) - max D(own)                                            implemented
    upper bounds of the margins g on a sphere                                        left out

A class with a single cluster has the third hinge alone, as in the paper.

Where ours is not theirs: training starts from softmax at the recipe's rate (`lr` lowers it: theirs
was not read), the four rounds are equal parts of the recipe's epochs, and a last pass computes the
centroids of the trained network. Clusters have at most max(20, N / (10 C)) images, theirs 200, and
are found by bisections with equal sizes, not by k-means. The half is of each cluster, so that no
class is left out. Margins are 0.1, 0.1 and 0.2: theirs are searched, the bounds are those of points
on a circle. A step has B / 4 anchors of five images, 1.25 B images, each image augmented on its
own; an anchor without another image of its class is compared with itself under another
augmentation. Classes without one of the nearest centroids follow by the distance of theirs. The
score is a margin, and its softmax no probability.
"""

from collections.abc import Mapping
from typing import cast

import torch
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import NearestCentroids
from ltbench.core.autocast import unit_rows
from ltbench.core.checks import check_value
from ltbench.losses import quintuplet
from ltbench.methods.contract import (
    LATER,
    Batch,
    EpochDraw,
    HParams,
    Loss,
    Method,
    Paper,
    Progress,
    Stage,
)
from ltbench.networks import Network, NetworkSpec, build_backbone
from ltbench.samplers import class_aware, equal_clusters, half_of_each, mine_quintuplets

IMAGES = 5
"""Images of a quintuplet."""
SHARE = 4
"""Images of a batch for each anchor: the number of ranks divides a quarter of most batches."""


class LMLEHParams(HParams):
    """Hyper-parameters of large margin local embedding."""

    cluster_margin: float = Field(0.1, ge=0, description="margin between clusters (g1)")
    class_margin: float = Field(0.1, ge=0, description="margin within a class (g2)")
    other_margin: float = Field(0.2, ge=0, description="margin between classes (g3)")
    width: int = Field(128, ge=1, description="width of the embedding")
    rounds: int = Field(4, ge=1, description="times that clusters and quintuplets are computed")
    smallest: int = Field(20, ge=1, description="least bound of the images of a cluster")
    relative_size: float = Field(
        0.1, gt=0, description="bound of the images of a cluster, relative to those of a mean class"
    )
    nearest: int = Field(20, ge=1, description="nearest centroids of a prediction (k)")
    lr: float = Field(
        1.0,
        gt=0,
        description="learning rate, relative to the recipe's",
        json_schema_extra=LATER,
    )


class Embedding(Network):
    """A network whose features are an embedding of length 1."""

    def __init__(self, backbone: nn.Module, embed: nn.Module, classifier: nn.Module) -> None:
        super().__init__(backbone, classifier)
        self.embed = embed

    def features(self, images: Tensor) -> Tensor:
        """Return embeddings [B, D] of images or cached features."""
        return unit_rows(self.embed(super().features(images)))


class LMLE(Method):
    """An embedding by quintuplets, and the nearest centroids of clusters."""

    title = "LMLE"
    paper = Paper(
        title="Learning Deep Representation for Imbalanced Classification",
        authors="Chen Huang, Yining Li, Chen Change Loy, Xiaoou Tang",
        venue="CVPR",
        year=2016,
    )
    category = "representation"
    stages = (
        Stage(
            "embedding",
            needs_statistics_pass=True,
            passes=IMAGES / SHARE,
            forward_passes=0.03,
            is_evaluated=False,
        ),
        Stage("centroids", is_trained=False, needs_statistics_pass=True, recipe_stage="stage2"),
    )
    init_from = "softmax"
    batch_dependence = "gathered"
    metric_terms = ("clusters", "classes", "others")
    HParams = LMLEHParams
    hparams: LMLEHParams
    network: Embedding

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return an embedding with centroids; register labels and quintuplets."""
        hparams, images = self.hparams, int(self.counts.sum())
        size = max(hparams.smallest, int(hparams.relative_size * images / spec.classes))
        self.clusters = -(-self.counts // size)  # [C]
        self.has_clusters = int(self.clusters.max()) > 1
        self.labels: Tensor  # [N], -1 where an image was not seen
        self.table: Tensor  # [N, 4], -1 where there is none
        self.register_buffer("labels", torch.full((images,), -1))
        self.register_buffer("table", torch.full((images, IMAGES - 1), -1))
        backbone, width = build_backbone(spec)
        classifier = NearestCentroids(hparams.width, self.clusters, hparams.nearest)
        return Embedding(backbone, nn.Linear(width, hparams.width), classifier)

    def on_stage_start(self, stage: Stage) -> None:  # noqa: ARG002 - the same in both
        """Start with no embeddings."""
        self.collected: list[tuple[Tensor, Tensor, Tensor]] = []
        self.uniform = torch.zeros(len(self.labels))

    def lr_scale(self, parameter: str) -> float:  # noqa: ARG002 - equal for all
        """Return a parameter's learning rate, relative to the recipe's."""
        return self.hparams.lr

    def on_epoch_start(self, progress: Progress) -> None:  # noqa: ARG002 - a hook reads it
        """Draw the random numbers of a new round.

        They choose a half of the images.
        """
        if self.needs_statistics_now():
            self.uniform = self.rng.shared(len(self.labels))

    def needs_statistics_now(self) -> bool:
        """Return whether a round begins."""
        epoch, epochs, rounds = self.progress.epoch, self.progress.epochs, self.hparams.rounds
        return epoch == 0 or epoch * rounds // epochs > (epoch - 1) * rounds // epochs

    def update_statistics(self, batch: Batch) -> None:
        """Keep the embeddings on the CPU."""
        embedded = self.network.features(batch.images)
        self.collected.append((embedded.cpu(), batch.labels.cpu(), batch.index.cpu()))

    def finalize_statistics(self) -> None:
        """Compute clusters and centroids; mine quintuplets."""
        parts = zip(*self.collected, strict=True)
        features, labels, index = (torch.cat(part) for part in parts)
        self.collected = []
        found = self.clustered(features.double(), labels)
        if not self.stage.is_trained:
            return
        candidates = half_of_each(found, self.uniform[index])
        mined = mine_quintuplets(features, labels, found, candidates, self.beat)
        mined = torch.where(mined >= 0, index[mined], -1)
        self.labels.fill_(-1)
        self.table.fill_(-1)
        device = self.table.device
        self.labels[index.to(device)] = labels.to(device)
        self.table[index.to(device)] = mined.to(device)

    def clustered(self, features: Tensor, labels: Tensor) -> Tensor:
        """Set the centroids; return the cluster [N] of each embedding [N, D]."""
        clusters = self.clusters.cpu()
        first = clusters.cumsum(0) - clusters
        found = torch.zeros_like(labels)
        stored = cast("NearestCentroids", self.network.classifier).centroids
        centroids = torch.zeros_like(stored, dtype=torch.float64, device="cpu")
        for k, (start, count) in enumerate(zip(first.tolist(), clusters.tolist(), strict=True)):
            rows = (labels == k).nonzero().flatten()
            own = equal_clusters(features[rows], min(count, len(rows)))
            found[rows] = start + own
            sums = torch.zeros(count, features.shape[1], dtype=torch.float64)
            sizes = torch.bincount(own, minlength=count)[:, None]
            sums.index_add_(0, own, features[rows])
            mean = features[rows].mean(dim=0)  # of clusters without images
            centroids[start : start + count] = torch.where(sizes > 0, sums / sizes, mean)
            self.beat()
        stored.copy_(centroids)
        return found

    def epoch_indices(self, draw: EpochDraw) -> Mapping[str, Tensor]:
        """Return quintuplets, whose anchors are drawn equally from the classes."""
        anchors = draw.batch // SHARE
        check_value("batch_size", draw.batch, f"at least {SHARE}", holds=anchors > 0)
        labels, table = self.labels.cpu(), self.table.cpu()
        seen = (labels >= 0).nonzero().flatten()
        generator = draw.generator("quintuplets")
        chosen = seen[class_aware(labels[seen], draw.steps * anchors, generator)]
        others = table[chosen]  # [A, 4]
        others = torch.where(others >= 0, others, chosen[:, None])
        images = torch.cat([chosen[:, None], others], dim=1)
        return {"quintuplets": images.view(draw.steps, anchors * IMAGES)}

    def training_loss(self, batch: Batch) -> Loss:
        """Return the hinges; the third alone if each class is one cluster.

        Raises:
            ValueError: if the rows are no whole quintuplets.
        """
        whole = len(batch) % IMAGES == 0
        expected = f"groups of {IMAGES} on each rank: choose a batch size divisible by 4 ranks"
        check_value("rows", len(batch), expected, holds=whole)
        embedded = self.network.features(batch.images)
        embedded = embedded.view(-1, IMAGES, embedded.shape[1])  # [A, 5, D]
        distances = (embedded[:, 1:] - embedded[:, :1]).square().sum(dim=2)
        hparams = self.hparams
        margins = hparams.cluster_margin, hparams.class_margin, hparams.other_margin
        known = self.table[batch.index[::IMAGES]] >= 0
        clusters, classes, others = quintuplet(distances, batch.labels[::IMAGES], margins, known)
        if not self.has_clusters:
            return {"others": others}
        return {"clusters": clusters, "classes": classes, "others": others}
