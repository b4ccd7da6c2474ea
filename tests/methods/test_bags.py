"""BAGS: a new classifier in groups, on a frozen backbone."""

import pytest
import torch

from ltbench.losses import counted_samples, group_softmax
from ltbench.testing import steps
from ltbench.testing.jobs import Case

COUNTS = (2000, 150, 120, 8)
GROUPS = torch.tensor([2, 1, 1, 0])


def started(**hparams):
    start = steps.build(Case("softmax"), COUNTS)
    method = steps.build(Case("bags", hparams), COUNTS)
    method.init_from_weights(start.state_dict())
    method.on_stage_start(method.stage)
    return start, method


def test_a_new_classifier_with_an_output_for_each_group_is_trained_alone():
    start, method = started()
    assert method.groups.equal(GROUPS)
    trained = {name for name, value in method.named_parameters() if value.requires_grad}
    assert trained == {"network.classifier.weight", "network.classifier.bias"}
    assert method.network.classifier.out_features == 7
    backbone = method.network.backbone
    for name, value in start.network.backbone.state_dict().items():
        assert backbone.state_dict()[name].equal(value)
    assert not any(module.training for module in method.train().network.backbone.modules())


def test_it_has_the_values_of_the_paper_and_is_a_second_stage():
    method = steps.build(Case("bags"), COUNTS)
    assert method.hparams.thresholds == (10, 100, 1000)
    assert method.hparams.ratio == 8
    assert method.stage.recipe_stage == "stage2"


@pytest.mark.parametrize("thresholds", [(3, 8), (8, 3), (3, 8, 8)])
def test_thresholds_count_once_in_any_order(thresholds):
    method = steps.build(Case("bags", {"thresholds": thresholds}), (9, 8, 7, 2))
    assert method.groups.tolist() == [2, 2, 1, 0]


def test_empty_groups_are_dropped():
    method = steps.build(Case("bags", {"thresholds": (3, 10, 1000)}), (9, 8, 7, 5))
    assert method.groups.tolist() == [0, 0, 0, 0]
    assert method.network.classifier.out_features == 5


def test_the_loss_is_that_of_its_draws():
    _, method = started(ratio=1.0)
    batch = steps.training_batch(method)
    found = steps.loss_of(method, batch)
    steps.begin_epoch(method)
    numbers = method.rng.uniform(batch.labels, 3)
    counted = counted_samples(batch.labels, GROUPS, numbers, 1.0)
    assert counted.sum(dim=0).tolist() == [2, 4, 8]  # labels are 5 of class 0, and one of each else
    assert found.equal(group_softmax(method.network(batch.images), batch.labels, GROUPS, counted))


def test_predictions_are_probabilities_within_groups_without_others():
    _, method = started()
    method.eval()
    with torch.no_grad():
        images = steps.evaluation_batch(method).images
        logits, found = method.network(images), method.predict(images).exp()
    for group, classes in ((0, [3]), (1, [1, 2]), (2, [0])):
        expected = logits[:, [group, *(3 + k for k in classes)]].softmax(dim=1)
        torch.testing.assert_close(found[:, classes], expected[:, 1:])
