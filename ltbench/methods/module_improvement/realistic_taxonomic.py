"""RTC: a classifier at each node of a tree of classes.

A prediction may stop at a node.

Wu, Morgado, Wang, Ho, Vasconcelos, "Solving Long-tailed Recognition with Deep Realistic Taxonomic
Classifier", ECCV 2020 (arXiv:2007.09898).

    a linear classifier of its children at each node, on shared features              implemented
    score of a class, the sum of the logits on the path to it                         implemented
    L_NCL, mean cross-entropy over the nodes on the path to the label                 implemented
    L_STS, cross-entropy of the scores in a random tree, each node kept or not        implemented
    L = L_NCL + lambda L_STS                                                          implemented
    rejection: a node whose largest probability is below a threshold is not passed    implemented
    a threshold by validation, and correctly predicted bits as the metric             left out
    a tree by clustering, or the taxonomy of the dataset: `taxonomy`                  implemented

As in the authors' code a node is closed with probability 0.1 for each image, the root never; all
classes below a closed node are one in the partition function; scores are at most 10 in L_STS; and
biases and norms have no weight decay. Their rate of 0.02 on CIFAR is raised fivefold by warm-up, to
the recipe's 0.1.

Where ours is not theirs: they take the taxonomy of each dataset; ours is by default made of a
trained softmax network, by average linkage of the cosines of its class means, with as many groups
by level as `groups` says, at most half of the classes. The network that is trained on it is a new
one. Grid `cifar100_lt` has a row with the 20 superclasses of CIFAR-100. A node with one child is no
choice, and counts nowhere. Tests count classes, not bits, so that the threshold is 0 by default.
Above it the root can be closed too, as in their test; all scores are equal then, and ours are the
logits of the root. Below another closed node, the class with the smallest number is predicted. The
test of the first stage is at chance: no classifier of the tree is trained yet.
"""

import torch.nn.functional as F
from pydantic import Field, PositiveInt
from torch import Tensor, nn

from ltbench.classifiers import linear
from ltbench.core.tree import Tree, average_linkage, group_sizes, taxonomy_groups, tree_of
from ltbench.losses import node_conditional, sure_nodes, tree_sampling, tree_scores
from ltbench.methods.contract import LATER, Batch, HParams, Loss, Paper, Stage
from ltbench.methods.shared import FeatureMeans
from ltbench.networks import Network, NetworkSpec, build_backbone


class RealisticTaxonomicHParams(HParams):
    """Hyper-parameters of RTC."""

    groups: tuple[PositiveInt, ...] = Field(
        (4, 10),
        description="groups of classes in each level of the tree, below its root",
        json_schema_extra={"only_with": {"taxonomy": []}},
    )
    taxonomy: tuple[tuple[int, ...], ...] = Field(
        (),
        json_schema_extra=LATER | {"taxonomy": True},
        description="the group of each class in each level, from few to many; in place of groups",
    )
    closed: float = Field(
        0.1, ge=0, lt=1, description="probability of a node to be closed for an image"
    )
    sampling_weight: float = Field(
        1.0, ge=0, description="weight of the loss of random trees (lambda)"
    )
    threshold: float = Field(
        0.0, ge=0, le=1, description="probability from which on a node is passed in the test"
    )


class RealisticTaxonomic(FeatureMeans):
    """A network with a classifier at each node of a class tree."""

    title = "RTC"
    paper = Paper(
        title="Solving Long-tailed Recognition with Deep Realistic Taxonomic Classifier",
        authors="Tz-Ying Wu, Pedro Morgado, Pei Wang, Chih-Hui Ho, Nuno Vasconcelos",
        venue="ECCV",
        year=2020,
        arxiv="2007.09898",
    )
    category = "classifier design"
    stages = (
        Stage("tree", is_trained=False, needs_statistics_pass=True),
        Stage("train"),
    )
    init_from = "softmax"
    batch_dependence = "gathered"
    oracle = "deep_rtc"
    HParams = RealisticTaxonomicHParams
    hparams: RealisticTaxonomicHParams
    network: Network

    def build_network(self, spec: NetworkSpec) -> nn.Module:
        """Return a network with a logit for each edge; register the groups."""
        self.groups: Tensor  # [L, C], see `core.tree`
        if self.hparams.taxonomy:
            groups = taxonomy_groups(self.hparams.taxonomy, spec.classes)
            self.sizes = [int(level.max()) + 1 for level in groups]
        else:
            sizes = group_sizes(self.hparams.groups, spec.classes)
            self.sizes = [size for size in sizes if size > 1]
            groups = self.counts.new_zeros(len(self.sizes), spec.classes)
        self.register_buffer("groups", groups)
        return self.new_network(spec)

    def new_network(self, spec: NetworkSpec) -> Network:
        """Return a network with a logit for each edge."""
        backbone, width = build_backbone(spec)
        return Network(backbone, linear(width, sum(self.sizes) + spec.classes))

    @property
    def tree(self) -> Tree:
        """The tree of classes."""
        return tree_of(self.groups, self.sizes)

    def on_stage_start(self, stage: Stage) -> None:
        """Begin class means, or a new network."""
        super().on_stage_start(stage)
        if not stage.needs_statistics_pass:
            self.network.load_state_dict(self.new_network(self.spec).state_dict())

    def finalize_statistics(self) -> None:
        """Group the classes, unless a taxonomy does."""
        if self.hparams.taxonomy:
            return
        means = F.normalize(self.means.means())
        self.groups.copy_(average_linkage(means @ means.T, self.sizes))

    def weight_decay_scale(self, parameter: str) -> float:
        """Return a parameter's weight decay: none of biases and norms."""
        return float(self.get_parameter(parameter).dim() > 1)

    def training_loss(self, batch: Batch) -> Loss:
        """Return the losses of the nodes and of a random tree."""
        tree, logits = self.tree, self.network(batch.images)
        gates = self.rng.uniform(batch.labels, len(tree.decides)) >= self.hparams.closed  # [B, N]
        gates[:, 0] = True
        sampling = tree_sampling(logits, batch.labels, tree, gates)
        return {
            "nodes": node_conditional(logits, batch.labels, tree),
            "trees": self.hparams.sampling_weight * sampling,
        }

    def predict(self, images: Tensor, target_prior: Tensor | None = None) -> Tensor:  # noqa: ARG002
        """Return the sums of logits [B, classes] on paths through passed nodes."""
        tree, logits = self.tree, self.network(images)
        gates = sure_nodes(logits, tree, self.hparams.threshold)
        gates &= gates[:, :1].clone()  # of a closed root its own logits are left, none below it
        gates[:, 0] = True
        return tree_scores(logits, tree, gates)
