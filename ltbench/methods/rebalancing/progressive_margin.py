"""Progressive margin loss (PML): margins by how class statistics move.

These margins are its variational part.

Deng, Liu, Wang, Wang, Yu, Sun, "PML: Progressive Margin Loss for Long-tailed Age Classification",
CVPR 2021 (arXiv:2103.02140), section 3.

    center c_y <- c_y + (f - c_y) / (k_y + 1), image by image                        implemented
    variation within phi_y += d(f, c_y) d(f, c_y after f), d = 1 - cos                implemented
    variation between psi_ij = d(c_i, c_j)                                            implemented
    margins of a convolutional network from the change of (c, phi, psi) in a step     implemented
    margins of mean 0 and standard deviation 0.01 over classes                        implemented
    probabilities softmax(z - m), the margin of all classes                           implemented
    ordinal margins, a Gaussian over the ages near the label                          left out
    KL to a distribution of labels and L1 to the expected age: cross-entropy here     left out

The ordinal part does not exist for unordered classes. What is left are margins that all images of a
batch share, of at most 0.01 (C - 1) / sqrt(C): it is close to softmax, and accuracies like those of
softmax are what to expect.

As in the authors' code statistics are constants, and begin anew with every epoch; the network of
margins (their layers) learns by the same loss, and is not used in tests.

Where ours is not theirs: they fine-tune a pre-trained ResNet-34 at a rate of 1e-4; both networks
have the recipe's rate here. Their code divides the products of psi by the square of the first
length; ours are cosines. From 1,000 classes on the network gets the mean of psi over a row. What a
batch adds is summed by class, in the order of the global batch; the result is that of one image
after the other.
"""

from typing import Literal

import torch
import torch.nn.functional as F
from pydantic import Field
from torch import Tensor, nn

from ltbench.classifiers import linear
from ltbench.core.distributed import gather
from ltbench.losses.counts import as_constant
from ltbench.losses.vector_scaling import vector_scaling
from ltbench.methods.contract import Batch, HParams, Loss, Method, Paper, Progress
from ltbench.networks import Network, NetworkSpec, build_backbone

MANY = 1000
"""Classes from which on rows have one value of the variation between classes."""

TINY = 1e-12


def distances(first: Tensor, second: Tensor) -> Tensor:
    """Return cosine distances of rows; 1 of a row of zeros."""
    return 1 - F.cosine_similarity(first, second, dim=-1)


def standardized(values: Tensor, scale: float) -> Tensor:
    """Return values with mean 0 and deviation `scale` over classes.

    Equal values become 0, with a finite gradient.
    """
    centered = values - values.mean(dim=-1, keepdim=True)
    variance = values.var(dim=-1, keepdim=True)
    return scale * centered / (variance + TINY**2).sqrt()


class ClassVariations(nn.Module):
    """Centers and variations of the classes of an epoch, in float64.

    Args:
        classes: C.
        width: D.

    Attributes:
        seen: [C], images so far.
        centers: [C, D].
        within: [C].
    """

    def __init__(self, classes: int, width: int) -> None:
        super().__init__()
        self.seen: Tensor
        self.centers: Tensor
        self.within: Tensor
        self.register_buffer("seen", torch.zeros(classes, dtype=torch.float64))
        self.register_buffer("centers", torch.zeros(classes, width, dtype=torch.float64))
        self.register_buffer("within", torch.zeros(classes, dtype=torch.float64))

    def reset(self) -> None:
        """Forget all images."""
        for buffer in self.buffers():
            buffer.zero_()

    @torch.no_grad()
    def update(self, features: Tensor, labels: Tensor) -> None:
        """Update with a step's features, one after the other.

        Args:
            features: [B, D], this rank's rows.
            labels: [B].
        """
        features, labels = gather(features.double()), gather(labels)
        member = F.one_hot(labels, len(self.seen)).double()  # [N, C]
        same = (labels[:, None] == labels).double().tril()  # [N, N], of the class and up to a row
        place = same.sum(dim=1, keepdim=True)  # [N, 1], from 1
        seen = self.seen[labels][:, None]
        sums = seen * self.centers[labels] + same @ features
        after = sums / (seen + place)
        earlier = (sums - features) / torch.where(place > 1, seen + place - 1, 1)
        before = torch.where(place > 1, earlier, self.centers[labels])
        self.within += member.T @ (distances(features, before) * distances(features, after))
        count = member.sum(dim=0)
        total = torch.where(count > 0, self.seen + count, 1)[:, None]
        means = (self.seen[:, None] * self.centers + member.T @ features) / total
        self.centers.copy_(torch.where(count[:, None] > 0, means, self.centers))
        self.seen += count

    def between(self) -> Tensor:
        """Return the variations [C, C] between classes."""
        directions = F.normalize(self.centers)
        return 1 - directions @ directions.T

    def rows(self) -> Tensor:
        """Return the center and variations of each class.

        [C, D + 1 + C], or [C, D + 2] of many classes.
        """
        between = self.between()
        if len(between) >= MANY:
            between = between.mean(dim=1, keepdim=True)
        return torch.cat([self.centers, self.within[:, None], between], dim=1)


def _normalized(norm: Literal["batch", "group"], channels: int) -> list[nn.Module]:
    layer = nn.BatchNorm1d(channels) if norm == "batch" else nn.GroupNorm(4, channels)
    return [layer, nn.ReLU(inplace=True)]


class MarginNetwork(nn.Module):
    """A convolutional network whose channels are classes.

    Rows [C, L] of the classes -> a value [C] of each.

    Args:
        classes: C.
        norm: of its layers.
    """

    def __init__(self, classes: int, norm: Literal["batch", "group"]) -> None:
        super().__init__()
        layers = [nn.Conv1d(classes, 64, 7, stride=2, padding=3), *_normalized(norm, 64)]
        layers += [nn.MaxPool1d(3, stride=2, padding=1)]
        layers += [nn.Conv1d(64, 64, 3, padding=1), *_normalized(norm, 64)]
        for inputs, outputs in ((64, 128), (128, 256), (256, 512)):
            layers.append(nn.Conv1d(inputs, outputs, 3, stride=2, padding=1))
            layers.append(nn.Conv1d(outputs, outputs, 3, padding=1))
            layers += _normalized(norm, outputs)
        self.convolutions = nn.Sequential(*layers)
        self.linear = nn.Linear(512, classes)

    def forward(self, rows: Tensor) -> Tensor:
        """Return a value of each class."""
        maps = self.convolutions(rows[None])  # [1, 512, L']
        values: Tensor = self.linear(maps.mean(dim=2))
        return values[0]


class ProgressiveMarginHParams(HParams):
    """Hyper-parameters of the progressive margin loss."""

    margin_scale: float = Field(
        0.01, ge=0, description="standard deviation of the margins over classes"
    )


class ProgressiveMargin(Method):
    """Cross-entropy of logits less margins that a network makes from class statistics."""

    title = "PML"
    paper = Paper(
        title="PML: Progressive Margin Loss for Long-tailed Age Classification",
        authors="Zongyong Deng, Hao Liu, Yaoxing Wang, Chenyang Wang, Zekuan Yu, Xuehong Sun",
        venue="CVPR",
        year=2021,
        arxiv="2103.02140",
    )
    category = "re-margining"
    batch_dependence = "gathered"
    oracle = "pml_partial"
    HParams = ProgressiveMarginHParams
    hparams: ProgressiveMarginHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the network; register class statistics and margins."""
        backbone, width = build_backbone(spec)
        network = Network(backbone, linear(width, spec.classes))
        self.variations = ClassVariations(spec.classes, width)
        self.margins = MarginNetwork(spec.classes, spec.norm)
        return network

    def on_epoch_start(self, progress: Progress) -> None:  # noqa: ARG002
        """Begin the statistics anew."""
        self.variations.reset()

    def training_loss(self, batch: Batch) -> Loss:
        """Return the cross-entropy of logits less margins."""
        features = self.network.features(batch.images)
        before = self.variations.rows()
        self.variations.update(features.detach(), batch.labels)
        change = (self.variations.rows() - before).to(self.margins.linear.weight.dtype)
        margins = standardized(self.margins(change), self.hparams.margin_scale)
        logits = self.network.classifier(features)
        return vector_scaling(logits, batch.labels, offsets=-as_constant(margins, logits))
