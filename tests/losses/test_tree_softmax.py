"""Deep-RTC's losses and scores against the authors' numbers, and their limits."""

import pytest
import torch

from ltbench.core.tree import tree_of
from ltbench.losses import (
    cross_entropy,
    node_conditional,
    node_log_softmax,
    sure_nodes,
    tree_sampling,
    tree_scores,
)
from ltbench.losses.tree_softmax import CAP, merged
from tests.losses.test_loss_oracles import EXACT

GROUPS, SIZES = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 1, 2, 2]]), (2, 3)
TREE = tree_of(GROUPS, SIZES)


class Theirs:
    """A tree of the file as levels of groups, and where its nodes and edges are in ours.

    Classes that are no group at a level are one of their own, with no choice below it.
    """

    def __init__(self, oracle):
        codes = oracle["codewords_node_child_leaf_pad_minus1"].long()  # [nodes, children, leaves]
        below = codes.eq(1).any(dim=1)  # [nodes, leaves]
        leaves = codes.shape[2]
        depth = torch.zeros(len(codes), dtype=torch.int64)
        for node, parent in enumerate(oracle["parent_node"].tolist()):
            depth[node] = 0 if parent < 0 else depth[parent] + 1
        levels = []
        for level in range(1, int(depth.max()) + 1):
            owner = leaves + torch.arange(leaves)
            for node in range(len(codes)):
                owner[below[node] & (depth[node] == level)] = node
            first = (owner == owner[:, None]).int().argmax(dim=1)
            levels.append(torch.unique(first, return_inverse=True)[1])
        groups = torch.stack(levels)
        self.tree = tree = tree_of(groups, [int(level.max()) + 1 for level in levels])
        # Of each of their nodes: ours, and of its children: our edges.
        self.nodes, self.edges = [], []
        for node in range(len(codes)):
            paths = tree.nodes[:, below[node]]
            mine = next(
                int(n)
                for n in paths[:, 0]
                if tree.decides[n] and (tree.nodes == n).any(dim=0).equal(below[node])
            )
            self.nodes.append(mine)
            for child in codes[node].eq(1)[codes[node].ge(0).all(dim=1)]:
                level = int((tree.nodes[:, child][:, 0] == mine).int().argmax())
                self.edges.append(int(tree.edges[level, child][0]))
        assert len(set(self.edges)) == len(self.edges)
        assert tree.decides.sum() == len(self.nodes)

    def layers(self, oracle, prefix):
        return torch.cat([oracle[f"{prefix}_{node}"] for node in range(len(self.nodes))])

    def logits(self, oracle, features):
        """Return the logits of our edges; those without a choice are what must not count."""
        weight, bias = self.layers(oracle, "W"), self.layers(oracle, "b")
        logits = torch.full((len(features), len(self.tree.origins)), 100.0, dtype=torch.float64)
        return logits.index_copy(1, torch.tensor(self.edges), features @ weight.T + bias)

    def gates(self, oracle):
        gates = torch.zeros(len(oracle["gate"]), len(self.tree.decides), dtype=torch.bool)
        gates[:, self.nodes] = oracle["gate"].bool()
        return gates


@pytest.mark.oracle("deep_rtc", has=["loss_sts"])
def test_losses(oracle):
    """Scores, partition function, both losses, and the gradients of features and weights."""
    theirs, features = Theirs(oracle), oracle["feats"].requires_grad_()
    weight, bias = theirs.layers(oracle, "W"), theirs.layers(oracle, "b")
    weight.requires_grad_(), bias.requires_grad_()
    logits = theirs.logits(oracle, features.detach())
    edges = torch.tensor(theirs.edges)
    logits = logits.index_copy(1, edges, features @ weight.T + bias)
    gates, labels, tree = theirs.gates(oracle), oracle["labels"].long(), theirs.tree

    scores = tree_scores(logits, tree, gates)
    torch.testing.assert_close(torch.where(scores < CAP, scores, CAP), oracle["output"], **EXACT)
    partition = scores.exp().masked_fill(merged(tree, gates), 0).sum(dim=1)
    torch.testing.assert_close(partition, oracle["sfmx_base"], **EXACT)
    consistency = node_conditional(logits, labels, tree)
    sampling = tree_sampling(logits, labels, tree, gates)
    torch.testing.assert_close(consistency, oracle["loss_node_conditional"], **EXACT)
    torch.testing.assert_close(sampling, oracle["loss_sts"], **EXACT)
    loss = consistency + oracle.hparams["lambda"] * sampling
    torch.testing.assert_close(loss, oracle["loss"], **EXACT)
    loss.backward()
    torch.testing.assert_close(features.grad, oracle["grad_feats"], **EXACT)
    torch.testing.assert_close(weight.grad, theirs.layers(oracle, "grad_W"), **EXACT)


@pytest.mark.oracle("deep_rtc", has=["test_output_thres0.4"])
@pytest.mark.parametrize("threshold", [0.0, 0.4])
def test_scores_of_the_test(oracle, threshold):
    """The root can be closed too: all scores are 0 then."""
    theirs = Theirs(oracle)
    logits = theirs.logits(oracle, oracle["feats"])
    gates = sure_nodes(logits, theirs.tree, threshold)
    found = tree_scores(logits, theirs.tree, gates)
    torch.testing.assert_close(found, oracle[f"test_output_thres{threshold}"], **EXACT)


@pytest.fixture
def batch():
    """Return logits of the 10 edges, labels, and gates of the 6 nodes."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(11, 10, dtype=torch.float64, generator=generator)
    gates = torch.rand(11, 6, generator=generator) < 0.6
    gates[:, 0] = True
    return logits, torch.arange(11) % 5, gates


def test_without_groups_both_are_cross_entropy(batch):
    flat = tree_of(torch.zeros(0, 5, dtype=torch.int64), ())
    logits, labels = batch[0][:, :5], batch[1]
    opened = torch.ones(11, 1, dtype=torch.bool)
    expected = cross_entropy(logits, labels)
    torch.testing.assert_close(node_conditional(logits, labels, flat), expected)
    torch.testing.assert_close(tree_sampling(logits, labels, flat, opened), expected)


def test_each_choice_on_the_path_counts_once(batch):
    logits, labels, _ = batch
    found = node_conditional(logits, labels, TREE)
    z, total, pairs = logits, 0.0, 0
    choices = {  # of each class: edges of a node, and the one that is right
        0: [([0, 1], 0), ([2, 3], 0), ([5, 6], 0)],
        1: [([0, 1], 0), ([2, 3], 0), ([5, 6], 1)],
        2: [([0, 1], 0), ([2, 3], 1)],
        3: [([0, 1], 1), ([8, 9], 0)],
        4: [([0, 1], 1), ([8, 9], 1)],
    }
    for row, label in zip(z, labels.tolist(), strict=True):
        for edges, right in choices[label]:
            total -= row[edges].log_softmax(0)[right]
            pairs += 1
    torch.testing.assert_close(found, total / pairs)


def test_scores_are_sums_as_far_as_gates_are_open(batch):
    logits = batch[0]
    opened = torch.ones(11, 6, dtype=torch.bool)
    z = logits.T
    whole = [z[0] + z[2] + z[5], z[0] + z[2] + z[6], z[0] + z[3], z[1] + z[8], z[1] + z[9]]
    torch.testing.assert_close(tree_scores(logits, TREE, opened), torch.stack(whole, dim=1))
    closed = opened.clone()
    closed[:, 1] = False  # and so all below it
    expected = torch.stack([z[0], z[0], z[0], *whole[3:]], dim=1)
    torch.testing.assert_close(tree_scores(logits, TREE, closed), expected)
    assert merged(TREE, closed)[0].tolist() == [False, True, True, False, False]
    assert not tree_scores(logits, TREE, torch.zeros_like(opened)).any()


def test_nodes_without_a_choice_have_no_gate_and_no_logit(batch):
    logits, labels, gates = batch
    other = logits.clone()
    other[:, [4, 7]] += 5.0
    moved = gates.clone()
    moved[:, [2, 4]] ^= True
    expected = tree_sampling(logits, labels, TREE, gates)
    torch.testing.assert_close(tree_sampling(other, labels, TREE, moved), expected)
    torch.testing.assert_close(
        node_conditional(other, labels, TREE), node_conditional(logits, labels, TREE)
    )


def test_gradients(batch):
    logits, labels, gates = batch
    logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: node_conditional(z, labels, TREE), (logits,))
    assert torch.autograd.gradcheck(lambda z: tree_sampling(z, labels, TREE, gates), (logits,))


def test_probabilities_of_a_node_sum_to_one(batch):
    found = node_log_softmax(batch[0], TREE).exp()
    sums = torch.zeros(11, 6, dtype=torch.float64).index_add_(1, TREE.origins, found)
    torch.testing.assert_close(sums, torch.ones_like(sums))
    assert found[:, [4, 7]].eq(1).all()


def test_sure_nodes(batch):
    logits = batch[0]
    assert sure_nodes(logits, TREE, 0.0).all()
    found = sure_nodes(logits, TREE, 0.7)
    assert found[:, 0].equal(logits[:, :2].softmax(dim=1).amax(dim=1) >= 0.7)
    assert found[:, [2, 4]].all()  # without a choice
    assert 0 < found[:, 0].sum() < 11


@pytest.mark.parametrize("size", [50.0, 1e4])
def test_finite_at_large_logits(batch, size):
    logits, labels, gates = batch
    logits = (size * logits.sign()).float().requires_grad_()
    for loss in (
        node_conditional(logits, labels, TREE),
        tree_sampling(logits, labels, TREE, gates),
    ):
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite()
        assert gradient.isfinite().all()


def test_scores_above_the_cap_have_no_gradient():
    flat = tree_of(torch.zeros(0, 3, dtype=torch.int64), ())
    logits = torch.tensor([[12.0, 1.0, 0.0]], requires_grad=True)
    opened = torch.ones(1, 1, dtype=torch.bool)
    loss = tree_sampling(logits, torch.tensor([0]), flat, opened)
    expected = cross_entropy(torch.tensor([[CAP, 1.0, 0.0]]), torch.tensor([0]))
    torch.testing.assert_close(loss, expected)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert gradient[0, 0] == 0


def test_half_precision_logits_lose_no_more_than_their_own_rounding(batch):
    logits, labels, gates = batch[0].bfloat16(), *batch[1:]
    with torch.autocast("cpu", torch.bfloat16):
        values = node_conditional(logits, labels, TREE), tree_sampling(logits, labels, TREE, gates)
    for value, exact in zip(
        values,
        (
            node_conditional(logits.float(), labels, TREE),
            tree_sampling(logits.float(), labels, TREE, gates),
        ),
        strict=True,
    ):
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, exact)


def test_bad_input(batch):
    logits, labels, gates = batch
    with pytest.raises(ValueError, match=r"logits: expected shape \[B, 10\]"):
        node_conditional(logits[:, :5], labels, TREE)
    with pytest.raises(ValueError, match=r"gates: expected shape \[11, 6\]"):
        tree_sampling(logits, labels, TREE, gates[:, :5])
    for loss in (
        lambda wrong: node_conditional(logits, wrong, TREE),
        lambda wrong: tree_sampling(logits, wrong, TREE, gates),
    ):
        with pytest.raises(ValueError, match="5 is not a class"):
            loss(labels + 1)
