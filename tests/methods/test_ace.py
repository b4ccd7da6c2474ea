"""ACE: its groups, rates, gradients and predictions."""

import pytest
import torch

from ltbench.core.stepping import total_loss
from ltbench.methods.ensembles.ace import ACE, ACEHParams
from ltbench.networks import NetworkSpec
from ltbench.testing import steps
from ltbench.testing.jobs import Case


def build(counts, **hparams):
    torch.manual_seed(0)
    spec = NetworkSpec("resnet8", len(counts), norm="group")
    return ACE(spec, torch.tensor(counts), ACEHParams(**hparams))


def test_experts_have_all_classes_medium_and_few_and_few():
    method = build([100, 10, 1])
    assert method.groups.tolist() == [[True] * 3, [False, True, True], [False, False, True]]
    assert method.rates == pytest.approx([1.0, 11 / 111, 1 / 111])


def test_rates_are_those_of_an_experts_share_of_the_images():
    method = build([100, 10, 1])
    assert 0.1 * method.lr_scale("network.classifier.1.weight") == pytest.approx(
        0.00990991, abs=5e-9
    )
    scales = {name: method.lr_scale(name) for name, _ in method.named_parameters()}
    for name, scale in scales.items():
        expert = next(
            (i for i in (1, 2) if f"experts.{i}." in name or f"classifier.{i}." in name), 0
        )
        assert scale == pytest.approx(method.rates[expert])
    assert set(scales.values()) == set(method.rates)
    even = build([100, 10, 1], adaptive_lr=False)
    assert {even.lr_scale(name) for name in scales} == {1.0}


def test_the_first_expert_alone_trains_the_trunk():
    method = steps.begin(Case("ace")).double()
    batch = steps.training_batch(method)
    method.zero_grad()
    logits = method.network(batch.images)
    trunk = list(method.network.backbone.shared.parameters())
    others = torch.autograd.grad(logits[1:].square().sum(), trunk)
    assert not any(gradient.any() for gradient in others)
    first = torch.autograd.grad(method.network(batch.images)[0].square().sum(), trunk)
    assert all(gradient.any() for gradient in first)


def test_experts_learn_from_images_of_their_classes():
    method = steps.begin(Case("ace")).double()
    batch = steps.training_batch(method)
    batch.labels.zero_()
    total_loss(method.training_loss(batch)).backward()
    for name, parameter in method.named_parameters():
        theirs = any(
            part in name for part in ("experts.1.", "experts.2.", "classifier.1.", "classifier.2.")
        )
        assert parameter.grad.any() != theirs, name


def test_weight_of_the_squares():
    batch = steps.training_batch(steps.begin(Case("ace")))
    losses = [
        steps.begin(Case("ace", {"complementary": weight})).training_loss(batch)
        for weight in (1.0, 0.25)
    ]
    assert losses[0]["complementary"] > 0
    torch.testing.assert_close(0.25 * losses[0]["complementary"], losses[1]["complementary"])
    assert losses[0]["classes"].equal(losses[1]["classes"])


@pytest.mark.parametrize("power", [0.0, 1.0, 2.0])
def test_predictions_are_means_over_the_experts_of_a_class(power):
    method = steps.begin(Case("ace", {"norm_power": power})).eval()
    images = steps.evaluation_batch(method).images
    with torch.no_grad():
        logits = method.network(images)
        lengths = [
            classifier.weight[own].norm(dim=1).pow(power).mean()
            for classifier, own in zip(method.classifiers, method.groups, strict=True)
        ]
        for k in range(steps.CLASSES):
            own = [i for i in range(3) if method.groups[i, k]]
            mean = sum(lengths[0] / lengths[i] * logits[i, :, k] for i in own) / len(own)
            torch.testing.assert_close(method.predict(images)[:, k], mean)


def test_classifiers_have_no_bias():
    assert all(classifier.bias is None for classifier in steps.build(Case("ace")).classifiers)
