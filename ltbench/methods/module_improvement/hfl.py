"""HFL: a tree of networks, fine-tuned for groups of similar classes.

Ouyang, Wang, Zhang, Yang, "Factors in Finetuning Deep Model for Object Detection with Long-tail
Distribution", CVPR 2016 (arXiv:1601.05150).

    similarity of classes, the inner product of their mean features                  implemented
    a tree of groups by clustering                                                   implemented
    a network for each group, which starts from its parent's, level by level         implemented
    cross-entropy over the classes of a group, on their images alone                 implemented
    a class is passed on to a group whose largest score reaches a threshold          left out
    hinge losses of two classes, and negatives that the parent did not reject        left out

Thresholds save time in detection, where most boxes are background; at a threshold of 0, as here,
all groups are reached. The root is a trained softmax network.

Where ours is not theirs: scores of different groups cannot be compared, so that probabilities are
composed, P_l(c) = P_(l-1)(S) p(c | S) with p of the network of the group S of c. Groups are made by
average linkage instead of graph degree linkage, on two levels below the root of 4 and 10 groups, at
most half of the classes (theirs are three levels of 4, 7 and 18 groups, of 200 classes). A level
takes a fifth of the root's epochs at a tenth of its rate; its groups share a batch in equal parts,
rounded up to multiples of 8 images (with ten groups a quarter more than 128). A group of one class
has nothing to learn, and its network is left out of training.

A prediction takes 1 + G_1 + G_2 networks, 15 by default, which are all in the saved weights. The
paper has gains in detection with 200 classes; CIFAR-10 has no tree to speak of.
"""

from collections.abc import Mapping

import torch
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from ltbench.core.autocast import at_least_float32
from ltbench.core.distributed import all_sum, world_size
from ltbench.core.tree import average_linkage, group_sizes
from ltbench.losses.counts import as_constant, or_one
from ltbench.losses.cross_entropy import cross_entropies
from ltbench.methods.contract import Batch, EpochDraw, HParams, Loss, Paper, Stage, StepInput
from ltbench.methods.shared import FeatureMeans
from ltbench.networks import Network, NetworkSpec

LEVELS = ("level1", "level2")
PART = 8
"""Images of a group in a batch are a multiple of this: BatchNorm and ranks need it."""


def compose(log_probabilities: Tensor, logits: Tensor, members: Tensor) -> Tensor:
    """Return log-probabilities with those of a group's classes replaced.

    The group keeps its probability; within it, that of its network holds.

    Args:
        log_probabilities: [B, C], of the level above.
        logits: [B, C], of the group's network.
        members: [C] bool, the classes of the group.
    """
    inner = logits.masked_fill(~members, -torch.inf).log_softmax(dim=1)
    whole = log_probabilities.masked_fill(~members, -torch.inf).logsumexp(dim=1, keepdim=True)
    return torch.where(members, whole + inner, log_probabilities)


def group_loss(logits: Tensor, labels: Tensor, members: Tensor) -> Tensor:
    """Return the mean cross-entropy of a group's images over its classes.

    Args:
        logits: [B, C].
        labels: [B], int64; images of other classes do not count.
        members: [C] bool, the classes of the group.
    """
    inside = members[labels]
    targets = torch.where(inside, labels, members.int().argmax())
    logits = at_least_float32(logits).masked_fill(~members, -torch.inf)
    losses = cross_entropies(logits, targets) * inside
    return world_size() * losses.sum() / or_one(all_sum(inside.sum()))


class HFLHParams(HParams):
    """Hyper-parameters of HFL."""

    groups: tuple[PositiveInt, PositiveInt] = Field(
        (4, 10), description="groups of classes in both levels below the root"
    )


class HFL(FeatureMeans):
    """A tree of networks for groups of similar classes."""

    title = "HFL"
    paper = Paper(
        title="Factors in Finetuning Deep Model for Object Detection with Long-tail Distribution",
        authors="Wanli Ouyang, Xiaogang Wang, Cong Zhang, Xiaokang Yang",
        venue="CVPR",
        year=2016,
        arxiv="1601.05150",
    )
    category = "representation"
    stages = (
        Stage("tree", is_trained=False, needs_statistics_pass=True),
        # A step trains single networks, of which a prediction takes 15 by default.
        *(Stage(level, epochs_scale=0.2, lr_scale=0.1, passes=1 / 15) for level in LEVELS),
    )
    init_from = "softmax"
    required_init_tensors = ("weight",)
    batch_dependence = "gathered"
    HParams = HFLHParams
    hparams: HFLHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return the root's network; register the groups and their networks."""
        self.sizes = group_sizes(self.hparams.groups, spec.classes)
        self.groups: Tensor  # [2, C], see `core.tree`
        self.register_buffer("groups", self.counts.new_zeros(len(self.sizes), spec.classes))
        new = super().build_network
        root, *networks = (new(spec) for _ in range(1 + sum(self.sizes)))
        first = self.sizes[0]
        levels = networks[:first], networks[first:]
        self.nodes = nn.ModuleList(map(nn.ModuleList, levels))
        self.trained: list[int] = []  # the groups that this stage trains
        return root

    def level_nodes(self, level: int) -> list[nn.Module]:
        """Return the networks of a level, 0 or 1."""
        return list(self.nodes[level].children())

    @property
    def level(self) -> int:
        """Level that this stage trains, 0 or 1."""
        return LEVELS.index(self.stage.name)

    def on_stage_start(self, stage: Stage) -> None:
        """Begin class means, or start a level's networks from their parents'."""
        super().on_stage_start(stage)
        # Not in evaluation mode: features of the root must not be cached for other networks.
        self.requires_grad_(requires_grad=False)
        if stage.needs_statistics_pass:
            return
        groups = self.groups.cpu()
        of_level = groups[self.level]
        sizes = torch.bincount(of_level, minlength=self.sizes[self.level]).tolist()
        self.trained = [number for number, size in enumerate(sizes) if size > 1]
        for number, node in enumerate(self.level_nodes(self.level)):
            parent: nn.Module = self.network
            if self.level > 0:
                member = (of_level == number).int().argmax()
                parent = self.level_nodes(0)[int(groups[0, member])]
            node.load_state_dict(parent.state_dict())
            node.requires_grad_(number in self.trained)

    def finalize_statistics(self) -> None:
        """Group the classes."""
        means = self.means.means()
        self.groups.copy_(average_linkage(means @ means.T, self.sizes))

    def epoch_indices(self, draw: EpochDraw) -> Mapping[str, Tensor]:
        """Return the images of each group, in passes over them."""
        parts = -(-draw.batch // (PART * len(self.trained)))
        draws = draw.steps * min(PART * parts, draw.batch)
        streams = {}
        for number in self.trained:
            members = self.groups[self.level].cpu() == number
            images = members[draw.labels].nonzero()[:, 0]
            passes = -(-draws // len(images))
            name = f"node {number}"
            generator = draw.generator(name)
            keys = torch.rand(passes, len(images), dtype=torch.float64, generator=generator)
            drawn = images[keys.argsort(dim=1)].flatten()[:draws]
            streams[name] = drawn.view(draw.steps, -1)
        return streams

    def training_loss(self, batch: StepInput) -> Loss:
        """Return the cross-entropy of each group's network."""
        batches = [batch] if isinstance(batch, Batch) else [*batch.values()]
        nodes, losses = self.level_nodes(self.level), {}
        for number, own in zip(self.trained, batches, strict=True):
            members = self.groups[self.level] == number
            losses[f"node {number}"] = group_loss(nodes[number](own.images), own.labels, members)
        return losses

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return the log-probabilities [B, classes] that the levels compose.

        Levels that are not trained yet leave the probabilities as they are.
        """
        logits = self.network(images)
        found = at_least_float32(logits).log_softmax(dim=1)
        if self.stage.name not in LEVELS:
            return found
        for level in range(self.level + 1):
            for number, node in enumerate(self.level_nodes(level)):
                own = as_constant(node(images), found)
                found = compose(found, own, self.groups[level] == number)
        return found
