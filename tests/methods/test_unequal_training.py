"""Unequal training: its stages, streams and weights."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.core.batch import Batch
from ltbench.losses import arcface_logits, center_dispersion, cross_entropy, noise_resistant
from ltbench.methods.contract import EpochDraw
from ltbench.testing import steps
from ltbench.testing.jobs import Case

CASE = Case("unequal_training")
EQUAL = (10, 10, 10, 10)


def logits_of(method, images, labels):
    features = F.normalize(method.network.features(images))
    cosines = features @ F.normalize(method.network.classifier.weight).T
    return arcface_logits(cosines, labels, 30.0, 0.5)


def test_the_first_stage_is_arcface():
    method = steps.begin(CASE).double()
    batch = steps.training_batch(method)
    expected = cross_entropy(logits_of(method, batch.images, batch.labels), batch.labels)
    torch.testing.assert_close(steps.loss_of(method, batch), expected)


def test_the_second_stage_adds_the_tail_and_its_centers():
    method = steps.begin(CASE, 1).double()
    steps.begin_epoch(method)
    everything = steps.training_batch(method)
    tail = Batch(everything.images.flip(0)[:6], torch.tensor([2, 2, 2, 3, 3, 3]), torch.arange(6))
    losses = method.training_loss({"instance": everything, "tail": tail})
    wanted = {"classes": everything, "tail": tail}
    for name, batch in wanted.items():
        logits = logits_of(method, batch.images, batch.labels)
        torch.testing.assert_close(losses[name], noise_resistant(logits, batch.labels, 0.9))
    dispersion = center_dispersion(method.network.features(tail.images), tail.labels)
    torch.testing.assert_close(losses["centers"], dispersion)
    steps.begin_epoch(method, 1)
    later = method.training_loss({"instance": everything, "tail": tail})
    torch.testing.assert_close(later["centers"], 5 * dispersion)


def test_the_centers_of_a_single_tail_class_have_no_loss():
    assert CASE.method.metric_terms == ("centers",)
    method = steps.begin(CASE, 1, (40, 30, 25, 2))
    steps.begin_epoch(method)
    everything = steps.training_batch(method)
    tail = Batch(everything.images[:3], torch.tensor([3, 3, 3]), torch.arange(3))
    losses = method.training_loss({"instance": everything, "tail": tail})
    assert set(losses) == {"classes", "tail"}


def test_without_a_tail_the_second_stage_is_noise_resistance():
    method = steps.begin(CASE, 1, EQUAL).double()
    batch = steps.training_batch(method)
    logits = logits_of(method, batch.images, batch.labels)
    torch.testing.assert_close(
        steps.loss_of(method, batch), noise_resistant(logits, batch.labels, 0.9)
    )


def test_tail_batches_have_three_images_of_a_class():
    counts = torch.tensor([300, 100, *[5] * 20, 1])
    method = steps.begin(CASE, 1)
    method.counts = counts
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    draw = EpochDraw(labels, 0, 4, 25, seed=3)
    streams = method.epoch_indices(draw)
    assert streams["instance"].equal(draw.sampler("instance"))
    tail = streams["tail"]
    assert tail.shape == (draw.steps, 25)
    assert labels[tail].min() == 2
    drawn = labels[tail[:, :24]].view(draw.steps, 8, 3)
    assert (drawn == drawn[:, :, :1]).all()
    assert drawn.unique().tolist() == list(range(2, 23))
    assert not tail.equal(method.epoch_indices(EpochDraw(labels, 1, 4, 25, seed=3))["tail"])


def test_the_first_stage_has_no_tail_batches():
    method = steps.begin(CASE)
    draw = EpochDraw(torch.arange(4).repeat(30), 0, 4, 48, seed=3)
    assert [*method.epoch_indices(draw)] == ["instance"]


@pytest.mark.parametrize("reset", [False, True])
def test_the_classifier_goes_on_unless_reset(reset):
    case = Case("unequal_training", {"reset_classifier": reset})
    first = steps.begin(case)
    method = steps.begin(case, 1, weights=first.state_dict())
    same = {
        name: value.equal(first.state_dict()[name]) for name, value in method.state_dict().items()
    }
    assert same.pop("network.classifier.weight") != reset
    assert all(same.values())
    lengths = method.network.classifier.weight.norm(dim=1)
    torch.testing.assert_close(lengths, torch.ones(4))


def test_predictions_are_scaled_cosines():
    method = steps.begin(CASE).double().eval()
    batch = steps.evaluation_batch(method)
    features = F.normalize(method.network.features(batch.images))
    expected = 30 * features @ F.normalize(method.network.classifier.weight).T
    torch.testing.assert_close(method.predict(batch.images), expected)
