"""LTML: its streams, branches and losses."""

import pytest
import torch

from ltbench.core.batch import Batch
from ltbench.losses import cross_entropy
from ltbench.methods.contract import EpochDraw
from ltbench.testing import steps
from ltbench.testing.jobs import Case


def ready(**hparams):
    return steps.begin(Case("ltml", hparams)).double()


def two(method):
    images = steps.evaluation_batch(method).images
    labels = torch.tensor([0, 0, 0, 1, 0, 1, 2, 3])
    halves = [Batch(images[i], labels[i], labels[i]) for i in (slice(0, 4), slice(4, 8))]
    return dict(zip(("instance", "class_aware"), halves, strict=True))


def logits_of(method, batch):
    images = torch.cat([each.images for each in batch.values()])
    with torch.no_grad():
        return method.network(images)  # [2, 8, C]


def test_streams_are_halves_of_the_batch():
    labels = torch.arange(4).repeat_interleave(20)
    streams = ready().epoch_indices(EpochDraw(labels, 0, 2, 8, seed=0))
    assert {name: tuple(index.shape) for name, index in streams.items()} == {
        "instance": (10, 4),
        "class_aware": (10, 4),
    }
    assert len(streams["instance"].unique()) == 40
    classes = labels[streams["class_aware"]].sort(dim=1).values
    assert classes.equal(torch.arange(4).expand(10, 4))


def test_branches_share_all_but_the_last_stage():
    backbone = ready().network.backbone
    first, second = backbone.experts
    assert len(first) == 2  # ResNet-8 has a block a stage; the other is the pool
    pairs = zip(first.parameters(), second.parameters(), strict=True)
    assert not any(a.equal(b) for a, b in pairs if a.dim() == 4)


def test_consistency_is_the_squared_difference_on_both_batches():
    method = ready(consistency=0.5)
    batch = two(method)
    logits = logits_of(method, batch)
    squares = (logits[0] - logits[1]).square()
    found = method.training_loss(batch)["consistency"]
    expected = 0.5 * (squares[:4].mean() + squares[4:].mean())
    torch.testing.assert_close(found.detach(), expected)


def test_the_gradient_of_consistency_goes_through_both_branches():
    method = ready()
    gradients = torch.autograd.grad(
        method.training_loss(two(method))["consistency"],
        [classifier.weight for classifier in method.network.classifier],
    )
    assert all(gradient.any() for gradient in gradients)


def test_losses_under_autocast_are_in_float32():
    method = steps.begin(Case("ltml"))
    with torch.autocast("cpu", torch.bfloat16):
        found = method.training_loss(two(method))
    assert {value.dtype for value in found.values()} == {torch.float32}


def test_equal_branches_agree():
    method = ready()
    backbone, classifiers = method.network.backbone.experts, method.network.classifier
    backbone[1].load_state_dict(backbone[0].state_dict())
    classifiers[1].load_state_dict(classifiers[0].state_dict())
    assert method.training_loss(two(method))["consistency"] == 0


@pytest.mark.parametrize("name", ["uniform", "balanced"])
def test_a_branch_learns_the_labels_of_its_own_batch(name):
    method = ready(loss="softmax", consistency=0.0)
    batch = two(method)
    logits = logits_of(method, batch)
    own, rows, stream = {
        "uniform": (0, slice(0, 4), "instance"),
        "balanced": (1, slice(4, 8), "class_aware"),
    }[name]
    found = method.training_loss(batch)[name]
    torch.testing.assert_close(
        found.detach(), cross_entropy(logits[own, rows], batch[stream].labels)
    )
    weights = [classifier.weight for classifier in method.network.classifier]
    gradients = torch.autograd.grad(found, weights, allow_unused=True)
    assert gradients[own].any()
    assert not gradients[1 - own].any()


def test_the_mean_over_classes_is_a_part_of_the_sum():
    whole, mean = (
        method.training_loss(two(method)) for method in (ready(), ready(reduction="mean"))
    )
    for name in ("uniform", "balanced"):
        torch.testing.assert_close(whole[name], 4 * mean[name])
    assert whole["consistency"] == mean["consistency"]


def test_predictions_are_the_mean_of_the_branches():
    method = ready().eval()
    images = steps.evaluation_batch(method).images
    with torch.no_grad():
        torch.testing.assert_close(method.predict(images), method.network(images).mean(dim=0))
