"""RTC: its tree, its new network, its losses, and rejection."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.config.load import load_grid
from ltbench.core.stepping import total_loss
from ltbench.core.tree import average_linkage, taxonomy_groups
from ltbench.losses import node_conditional, tree_sampling, tree_scores
from ltbench.networks.class_statistics import ClassMeans
from ltbench.testing import steps
from ltbench.testing.jobs import Case

COUNTS = (40, 12, 5, 2)


def case(**hparams):
    return Case("realistic_taxonomic", hparams)


def trained(**hparams):
    return steps.begin(case(**hparams), 1).double()


def test_the_tree_is_that_of_the_class_means_of_softmax():
    method = steps.finish(steps.begin(case()))
    assert method.sizes == [2, 2]  # four classes
    means = ClassMeans(4)
    with torch.inference_mode():
        for seed in range(2):
            batch = steps.evaluation_batch(method, seed)
            means.add(method.network.backbone(batch.images), batch.labels)
    unit = F.normalize(means.means())
    assert method.groups.equal(average_linkage(unit @ unit.T, [2, 2]))
    assert method.groups.max() == 1


def test_the_network_has_a_logit_for_each_edge_whatever_the_tree_is():
    method = steps.build(case(groups=(2,)), COUNTS)
    assert method.network.classifier.out_features == 2 + 4
    assert steps.build(case(groups=()), COUNTS).network.classifier.out_features == 4


def test_a_taxonomy_takes_the_place_of_clustering():
    given = case(taxonomy=((1, 0, 0, 1),))
    first = steps.finish(steps.begin(given))
    second = steps.begin(given, 1, weights=first.state_dict())
    for method in (first, second):
        assert method.groups.tolist() == [[0, 1, 1, 0]]
        assert method.tree.decides.all()
        assert method.network.classifier.out_features == 2 + 4
    assert steps.loss_of(second, steps.training_batch(second)).isfinite()


def test_the_taxonomy_of_cifar100_has_five_classes_in_each_of_20_groups():
    variants = {variant.label: variant for variant in load_grid("cifar100_lt").variants}
    taxonomy = variants["RTC (superclasses)"].hparams["taxonomy"]
    groups = taxonomy_groups(taxonomy, 100)[0]
    assert groups.bincount().tolist() == 20 * [5]
    assert groups[[1, 32, 67, 73, 91]].unique().tolist() == [1]  # aquarium fish to trout


def test_the_second_stage_has_the_tree_and_a_new_network():
    first = steps.finish(steps.begin(case()))
    second = steps.begin(case(), 1, weights=first.state_dict())
    assert second.groups.equal(first.groups)
    before, after = first.network.state_dict(), second.network.state_dict()
    drawn = [name for name, value in before.items() if value.dim() > 1]
    assert drawn
    assert not any(before[name].equal(after[name]) for name in drawn)
    assert all(value.requires_grad for value in second.network.parameters())


def test_biases_and_norms_have_no_weight_decay():
    method = steps.build(case(), COUNTS)
    assert method.weight_decay_scale("network.classifier.weight") == 1
    assert method.weight_decay_scale("network.classifier.bias") == 0
    assert method.weight_decay_scale("network.backbone.norm1.weight") == 0


def test_the_loss_is_that_of_its_draws():
    method = trained(closed=0.5, sampling_weight=0.3)
    method.groups.copy_(torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1]]))
    batch = steps.training_batch(method)
    steps.begin_epoch(method)
    gates = method.rng.uniform(batch.labels, 5) >= 0.5
    assert not gates[:, 0].all()
    gates[:, 0] = True  # the root is never closed
    logits = method.network(batch.images)
    nodes = node_conditional(logits, batch.labels, method.tree)
    trees = tree_sampling(logits, batch.labels, method.tree, gates)
    torch.testing.assert_close(steps.loss_of(method, batch), nodes + 0.3 * trees)


def test_without_closed_nodes_the_loss_draws_nothing_that_counts():
    method = trained(closed=0.0)
    batch = steps.training_batch(method)
    first = steps.loss_of(method, batch)
    steps.begin_epoch(method, 1)
    torch.testing.assert_close(total_loss(method.training_loss(batch)), first)


@pytest.fixture
def rejecting():
    """Return a function from a threshold to predictions, logits and tree of six images."""

    def predict(threshold):
        method = trained(threshold=threshold)
        method.groups.copy_(torch.tensor([[0, 0, 1, 1], [0, 0, 1, 1]]))
        logits = torch.zeros(3, 8, dtype=torch.float64)  # 2 + 2 groups, 4 classes
        logits[:, 1] = torch.tensor([0.125, 3.0, 3.0])  # the second group at the root
        logits[:, 7] = torch.tensor([3.0, 0.125, 3.0])  # the last class in it
        method.network.classifier = torch.nn.Identity()
        method.network.backbone = torch.nn.Identity()
        images = logits[:, :, None, None]
        method.network.forward = lambda images: images.flatten(1)
        return method.predict(images), logits, method.tree

    return predict


def test_predictions_at_threshold_0_are_sums_of_all_logits(rejecting):
    found, logits, tree = rejecting(0.0)
    assert found.equal(tree_scores(logits, tree, torch.ones(3, 5, dtype=torch.bool)))
    assert found.argmax(dim=1).tolist() == [3, 3, 3]


def test_an_unsure_node_is_not_passed_and_an_unsure_root_predicts_alone(rejecting):
    found, _, _ = rejecting(0.8)
    assert found[0].tolist() == [0, 0, 0.125, 0.125]
    assert found[1].tolist() == [0, 0, 3, 3]
    assert found[2].tolist() == [0, 0, 3, 6]
    assert found.argmax(dim=1).tolist() == [2, 2, 3]  # not the largest class
