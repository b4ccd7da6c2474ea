"""Classifiers at the nodes of a tree of classes, for Deep-RTC.

Wu, Morgado, Wang, Ho, Vasconcelos, "Solving Long-tailed Recognition with Deep Realistic Taxonomic
Classifier", ECCV 2020 (arXiv:2007.09898). Each edge of the tree has a logit [B, E]; a node's
probabilities are the softmax over its edges. A node with a single edge has no choice: it has no
loss, its logit counts nowhere, and its gate is open.
"""

import torch
from torch import Tensor

from ltbench.core.autocast import at_least_float32
from ltbench.core.checks import check_labels, check_shape
from ltbench.core.distributed import global_mean
from ltbench.core.tree import Tree

CAP = 10.0
"""Largest score of a class in training."""


def node_log_softmax(logits: Tensor, tree: Tree) -> Tensor:
    """Return the log-probabilities of edges at their nodes.

    Args:
        logits: [B, E].
        tree: of the classes.

    Returns:
        [B, E], in at least float32.
    """
    check_shape("logits", logits, "B", len(tree.origins))
    logits = at_least_float32(logits)
    origins = tree.origins.expand_as(logits)
    shape = len(logits), len(tree.decides)
    least = logits.new_full(shape, -torch.inf)
    largest = least.scatter_reduce(1, origins, logits.detach(), "amax").gather(1, origins)
    shifted = logits - largest
    sums = logits.new_zeros(shape).scatter_add(1, origins, shifted.exp())
    return shifted - sums.gather(1, origins).log()


def node_conditional(logits: Tensor, labels: Tensor, tree: Tree) -> Tensor:
    """Return the mean cross-entropy over nodes on the paths to labels.

    Args:
        logits: [B, E].
        labels: [B], int64.
        tree: of the classes.
    """
    log_probabilities = node_log_softmax(logits, tree)
    check_labels(labels, (len(logits), tree.edges.shape[1]))
    losses = -log_probabilities.gather(1, tree.edges[:, labels].T)  # [B, L + 1]
    counted = tree.decides[tree.nodes[:, labels].T]
    return global_mean(losses.flatten(), counted.flatten())


def tree_scores(logits: Tensor, tree: Tree, gates: Tensor) -> Tensor:
    """Return the sums of logits on the open paths to classes.

    Args:
        logits: [B, E].
        tree: of the classes.
        gates: [B, N] bool, whether a node's logits count, and those below it.

    Returns:
        [B, C], in at least float32.
    """
    check_shape("logits", logits, "B", len(tree.origins))
    check_shape("gates", gates, len(logits), len(tree.decides))
    logits = at_least_float32(logits)
    opened = (gates | ~tree.decides)[:, tree.nodes].long().cumprod(dim=1).bool()  # [B, L + 1, C]
    counted = opened & tree.decides[tree.nodes]
    return torch.where(counted, logits[:, tree.edges], 0).sum(dim=1)


def tree_sampling(logits: Tensor, labels: Tensor, tree: Tree, gates: Tensor) -> Tensor:
    """Return the cross-entropy of the scores in the tree's open part.

    The classes below a closed gate are one class. Scores are at most CAP.

    Args:
        logits: [B, E].
        labels: [B], int64.
        tree: of the classes.
        gates: [B, N] bool.
    """
    scores = tree_scores(logits, tree, gates)
    check_labels(labels, scores.shape)
    scores = torch.where(scores < CAP, scores, CAP)
    total = scores.masked_fill(merged(tree, gates), -torch.inf).logsumexp(dim=1)  # [B]
    return global_mean(total - scores.gather(1, labels[:, None])[:, 0])


def merged(tree: Tree, gates: Tensor) -> Tensor:
    """Return which classes [B, C] a closed gate merges with earlier ones."""
    classes = torch.arange(tree.nodes.shape[1], device=gates.device)
    closed = ~(gates | ~tree.decides)[:, tree.nodes]  # [B, L + 1, C]
    return (closed & (tree.first[tree.nodes] != classes)).any(dim=1)


def sure_nodes(logits: Tensor, tree: Tree, threshold: float) -> Tensor:
    """Return the nodes [B, N] whose largest probability reaches a threshold."""
    probabilities = node_log_softmax(logits, tree).exp()
    largest = probabilities.new_zeros(len(logits), len(tree.decides))
    origins = tree.origins.expand_as(probabilities)
    return largest.scatter_reduce(1, origins, probabilities, "amax") >= threshold
