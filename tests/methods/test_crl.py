"""CRL in training: its parts, its weight, and its batches."""

import pytest
import torch

from ltbench.config.hparams import HParamResolver
from ltbench.config.load import load_dataset
from ltbench.config.registry import load_registry
from ltbench.losses import class_rectification, cross_entropy
from ltbench.testing import steps
from ltbench.testing.jobs import Case


def test_a_step_weighs_triplets_by_the_imbalance():
    hparams = {"weight": 0.5, "margin": 0.4, "hardest": 2}
    method = steps.begin(Case("crl", hparams), counts=(40, 12, 5, 3)).double()
    batch = steps.evaluation_batch(method)
    logits = method.network(batch.images)
    triplets = class_rectification(
        logits.softmax(dim=1), batch.labels, method.counts, 0.4, hardest=2
    )
    classes = cross_entropy(logits, batch.labels)
    alpha = 0.5 * (1 - 60 / 160)
    found = method.training_loss(batch)
    assert set(found) == {"classes", "triplets"}
    torch.testing.assert_close(found["classes"], (1 - alpha) * classes)
    torch.testing.assert_close(found["triplets"], alpha * triplets)
    assert triplets > 0
    weights = list(method.parameters())
    expected = torch.autograd.grad(
        alpha * triplets + (1 - alpha) * classes, weights, retain_graph=True
    )
    torch.testing.assert_close(torch.autograd.grad(sum(found.values()), weights), expected)


@pytest.mark.parametrize(
    ("hparams", "counts"), [({}, (9, 9, 9, 9)), ({"weight": 0.0}, (40, 12, 5, 2))]
)
def test_without_imbalance_or_weight_it_is_the_cross_entropy(hparams, counts):
    method = steps.begin(Case("crl", hparams), counts=counts)
    batch = steps.evaluation_batch(method)
    found = method.training_loss(batch)
    assert found.equal(cross_entropy(method.network(batch.images), batch.labels))


def test_with_many_classes_batches_have_four_images_of_a_class():
    expected = {
        "cifar10": ("instance",),
        "cifar100": ("class_aware(per_class=4)",),
        "tinyimagenet": ("class_aware(per_class=4)",),
        "imagenet_lt": ("class_aware(per_class=4)",),
    }
    kind, resolver = Case("crl").method, HParamResolver(load_registry())
    for name, samplers in expected.items():
        hparams = resolver.resolve("crl", {}, load_dataset(name)).values
        assert kind.stages[0].resolve(hparams).samplers == samplers
