"""The range loss in training: its parts, and its batches."""

import pytest
import torch

from ltbench.losses import cross_entropy, range_loss
from ltbench.testing import steps
from ltbench.testing.jobs import Case


@pytest.mark.parametrize(("distance", "squared"), [("squared", True), ("euclidean", False)])
def test_a_step_adds_weighted_losses_of_features(distance, squared):
    hparams = {"intra_weight": 0.5, "inter_weight": 0.25, "margin": 40.0, "distance": distance}
    method = steps.begin(Case("range_loss", {**hparams, "hardest": 3})).double()
    batch = steps.training_batch(method)
    features = method.network.features(batch.images)
    intra, inter = range_loss(features, batch.labels, 40.0, hardest=3, squared=squared)
    found = method.training_loss(batch)
    assert set(found) == {"classes", "intra", "inter"}
    torch.testing.assert_close(
        found["classes"], cross_entropy(method.network(batch.images), batch.labels)
    )
    torch.testing.assert_close(found["intra"], 0.5 * intra)
    torch.testing.assert_close(found["inter"], 0.25 * inter)
    assert min(found.values()) > 0
    weights = list(method.network.backbone.parameters())
    gradients = torch.autograd.grad(0.5 * intra + 0.25 * inter, weights, retain_graph=True)
    found_gradients = torch.autograd.grad(found["intra"] + found["inter"], weights)
    torch.testing.assert_close(found_gradients, gradients)


def test_batches_have_four_images_of_a_class():
    assert steps.build(Case("range_loss")).stage.samplers == ("class_aware(per_class=4)",)
