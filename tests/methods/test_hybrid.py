"""The hybrid networks: contrast on all images beside a classifier on balanced batches."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.core.batch import Batch
from ltbench.losses import cross_entropy, prototype_contrast, supervised_contrast
from ltbench.methods.contract import EpochDraw, Progress
from ltbench.testing import steps
from ltbench.testing.jobs import Case

KEYS = ["hybrid_psc", "hybrid_sc"]


def step(key, epoch):
    """Return a method, two different batches, and the losses."""
    method = steps.begin(Case(key)).double()
    everything = steps.training_batch(method)
    balanced = Batch(everything.images.flip(1), everything.labels.flip(0), everything.index)
    method.progress = Progress(epoch, 4, deferred=False)
    losses = method.training_loss({"instance": everything, "class_balanced": balanced})
    return method, everything, balanced, losses


@pytest.mark.parametrize("key", KEYS)
@pytest.mark.parametrize(("epoch", "alpha"), [(0, 1.0), (1, 0.9375), (3, 0.4375)])
def test_the_loss_moves_from_contrast_to_the_classifier(key, epoch, alpha):
    method, everything, balanced, losses = step(key, epoch)
    network = method.network
    views = torch.stack([network.projection(network.features(v)) for v in everything.images])
    labels = everything.labels
    if key == "hybrid_sc":
        contrast = supervised_contrast(views, labels, 0.1)
    else:
        first, second = (prototype_contrast(v, method.prototypes, labels, 0.1) for v in views)
        contrast = (first + second) / 2
    torch.testing.assert_close(losses["contrast"], alpha * contrast)
    logits = network(balanced.images[0])
    expected = (1 - alpha) * cross_entropy(logits, balanced.labels)
    torch.testing.assert_close(losses["classes"], expected)


@pytest.mark.parametrize("key", KEYS)
def test_both_views_have_gradients(key):
    method = steps.begin(Case(key)).double()
    batch = steps.training_batch(method)
    images = batch.images.clone().requires_grad_()
    batches = {
        "instance": Batch(images, batch.labels, batch.index),
        "class_balanced": batch,
    }
    steps.begin_epoch(method)
    method.training_loss(batches)["contrast"].backward()
    assert images.grad[0].any()
    assert images.grad[1].any()


@pytest.mark.parametrize("key", KEYS)
def test_streams_are_of_two_samplers(key):
    method = steps.begin(Case(key))
    draw = EpochDraw(torch.tensor([0] * 400 + [1] * 80), 0, 4, 8, seed=1)
    streams = method.epoch_indices(draw)
    assert streams["instance"].flatten().unique().numel() == 480
    share = draw.labels[streams["class_balanced"]].double().mean()
    assert 0.3 < float(share) < 0.7
    assert method.stage.views == ("recipe", "distorted")


@pytest.mark.oracle("hybrid_sc", has=["paper_alpha_curve_T1to200"])
def test_the_curve_of_alpha(oracle):
    """The file has it for T from 1 to T_max; T is 0 in our first epoch."""
    curve = oracle["paper_alpha_curve_T1to200"]
    method = steps.begin(Case("hybrid_sc"))
    for epoch, expected in enumerate(curve[:-1].tolist(), 1):
        method.progress = Progress(epoch, len(curve), deferred=False)
        assert method.alpha == pytest.approx(expected, rel=1e-12)


def test_prototypes_begin_at_length_one():
    method = steps.begin(Case("hybrid_psc"))
    assert method.prototypes.shape == (4, 128)
    torch.testing.assert_close(method.prototypes, F.normalize(method.prototypes))


@pytest.mark.parametrize("key", KEYS)
def test_predictions_are_the_classifiers(key):
    method = steps.begin(Case(key)).double().eval()
    images = steps.evaluation_batch(method).images
    expected = method.network.classifier(method.network.features(images))
    assert method.predict(images).equal(expected)
