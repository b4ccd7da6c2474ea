"""HFL: composed probabilities, the tree, and networks that start from their parents'."""

import pytest
import torch

from ltbench.core.stepping import total_loss
from ltbench.core.tree import average_linkage
from ltbench.losses import cross_entropy
from ltbench.methods.module_improvement.hfl import compose, group_loss
from ltbench.methods.step_input import example_draw
from ltbench.networks.class_statistics import ClassMeans
from ltbench.testing import steps
from ltbench.testing.jobs import Case

COUNTS = (40, 12, 5, 2)
GROUPS = torch.tensor([[0, 0, 0, 1], [0, 0, 1, 2]])
CASE = Case("hfl")


def member(*classes, total=3):
    return torch.isin(torch.arange(total), torch.tensor(classes))


def at_level(level, groups=((0, 0, 1, 1), (0, 0, 1, 1))):
    """Return a method at the start of a level, with given groups."""
    weights = steps.finish(steps.begin(CASE)).state_dict()
    weights["groups"] = torch.tensor(groups)
    if level == 2:
        weights = steps.begin(CASE, 1, weights=weights).state_dict()
        for name in weights:  # as if they had been trained
            if name.startswith("nodes.0") and weights[name].is_floating_point():
                weights[name] = weights[name] * (1.1 + 0.1 * int(name.split(".")[2]))
    return steps.begin(CASE, level, weights=weights)


def test_the_example_of_the_sheet():
    root = torch.tensor([[0.5, 0.3, 0.2]], dtype=torch.float64).log()
    leaf = torch.tensor([[0.7, 0.3, 0.9]], dtype=torch.float64).log()
    found = compose(root, leaf, member(0, 1))
    found = compose(found, leaf, member(2)).exp()
    assert found[0].tolist() == pytest.approx([0.56, 0.24, 0.2])


def test_children_that_equal_their_parent_change_nothing_and_sums_stay_one():
    torch.manual_seed(0)
    logits, other = torch.randn(2, 6, 5, dtype=torch.float64)
    root = logits.log_softmax(dim=1)
    members = member(0, 3, 4, total=5)
    torch.testing.assert_close(compose(root, logits, members), root)
    found = compose(root, other, members).exp()
    torch.testing.assert_close(found.sum(dim=1), torch.ones(6, dtype=torch.float64))
    torch.testing.assert_close(found[:, members].sum(dim=1), root[:, members].exp().sum(dim=1))
    assert compose(root, other, torch.zeros(5, dtype=torch.bool)).equal(root)


def test_the_loss_is_cross_entropy_of_a_groups_classes_and_images():
    torch.manual_seed(0)
    logits = torch.randn(6, 5, dtype=torch.float64, requires_grad=True)
    labels, members = torch.tensor([0, 1, 3, 4, 2, 3]), member(0, 3, 4, total=5)
    rows, place = torch.tensor([0, 2, 3, 5]), torch.tensor([0, 1, 2, 1])
    expected = cross_entropy(logits[rows][:, members], place)
    torch.testing.assert_close(group_loss(logits, labels, members), expected)
    assert torch.autograd.gradcheck(lambda z: group_loss(z, labels, members), (logits,))
    whole = torch.ones(5, dtype=torch.bool)
    torch.testing.assert_close(group_loss(logits, labels, whole), cross_entropy(logits, labels))


def test_large_logits_and_batches_without_images_of_the_group_are_finite():
    logits = (1e4 * torch.randn(4, 5).sign()).requires_grad_()
    for labels in (torch.tensor([0, 3, 4, 4]), torch.tensor([1, 2, 1, 2])):
        loss = group_loss(logits, labels, member(0, 3, 4, total=5))
        (gradient,) = torch.autograd.grad(loss, logits)
        assert loss.isfinite()
        assert gradient.isfinite().all()


def test_labels_that_are_no_classes_are_refused():
    with pytest.raises((ValueError, IndexError)):
        group_loss(torch.zeros(2, 3), torch.tensor([0, 3]), member(0, 1))


def test_the_similarity_of_classes_is_that_of_their_means():
    means = ClassMeans(2)
    means.add(torch.tensor([[1.0, 0], [0, 1], [1, 1], [2, 0]]), torch.tensor([0, 0, 1, 1]))
    assert float(means.means()[0] @ means.means()[1]) == 1  # the mean of all inner products


def test_the_tree_is_that_of_inner_products_of_class_means():
    method = steps.finish(steps.begin(CASE))
    means = ClassMeans(4)
    with torch.inference_mode():
        for seed in range(2):
            batch = steps.evaluation_batch(method, seed)
            means.add(method.network.features(batch.images), batch.labels)
    products = means.means() @ means.means().T
    assert method.sizes == (2, 2)
    assert method.groups.equal(average_linkage(products, (2, 2)))


def test_networks_start_from_their_parents():
    first = at_level(1)
    for node in first.level_nodes(0):
        for name, value in first.network.state_dict().items():
            assert node.state_dict()[name].equal(value)
    second = at_level(2, groups=((0, 0, 0, 1), (0, 1, 0, 1)))
    for number, parent in ((0, 0), (1, 0)):  # by their first classes
        node, above = second.level_nodes(1)[number], second.level_nodes(0)[parent]
        for name, value in above.state_dict().items():
            assert node.state_dict()[name].equal(value)
    second = at_level(2)
    one, two = (node.classifier.weight for node in second.level_nodes(1))
    assert not one.equal(two)


def test_a_stage_trains_the_networks_of_its_level_with_several_classes():
    method = at_level(1, groups=((0, 0, 0, 1), (0, 0, 1, 1)))
    assert method.trained == [0]
    trained = {
        name.split("backbone")[0].split("classifier")[0]
        for name, value in method.named_parameters()
        if value.requires_grad
    }
    assert trained == {"nodes.0.0."}
    assert at_level(2, groups=((0, 0, 0, 1), (0, 0, 1, 1))).trained == [0, 1]


def test_each_network_has_a_stream_of_its_classes():
    method = at_level(1)
    steps.begin_epoch(method)
    draw = example_draw(method, 16)
    found = method.epoch_indices(draw)
    assert list(found) == ["node 0", "node 1"]
    for name, classes in (("node 0", [0, 1]), ("node 1", [2, 3])):
        assert found[name].shape == (59 // 16, 8)
        assert torch.isin(draw.labels[found[name]], torch.tensor(classes)).all()
    small = draw.labels[found["node 1"]].flatten()[:21]  # three passes over 5 + 2 images
    assert torch.bincount(small, minlength=4).tolist() == [0, 0, 15, 6]


def test_the_loss_is_the_sum_over_networks():
    method = at_level(1).double()
    batch = steps.training_batch(method)
    found = total_loss(method.training_loss({"node 0": batch, "node 1": batch}))
    expected = sum(
        group_loss(node(batch.images), batch.labels, method.groups[0] == number)
        for number, node in enumerate(method.level_nodes(0))
    )
    torch.testing.assert_close(found, expected)


def test_predictions_before_training_are_those_of_the_root():
    method = steps.finish(at_level(1)).double()
    images = steps.evaluation_batch(method).images
    with torch.inference_mode():
        root = method.network(images).log_softmax(dim=1)
        torch.testing.assert_close(method.predict(images), root)
        moved = steps.finish(at_level(2)).double()
        found = moved.predict(images)
    assert not found.isclose(root).all()
    sums = found.exp().sum(dim=1)
    torch.testing.assert_close(sums, torch.ones_like(sums))
