"""GIST's classifiers against the authors' numbers, and their limits."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.classifiers import ConstellationClassifier
from tests.losses.test_loss_oracles import EXACT


@pytest.fixture
def classifier():
    """Return classifiers of 5 classes with 3 displacements, in float64."""
    torch.manual_seed(0)
    made = ConstellationClassifier(6, 5, 3).double()
    made.spread(0.5)
    return made


def loaded(oracle):
    classes, width = oracle["weights_c"].shape
    classifier = ConstellationClassifier(width, classes, int(oracle["hp_n_struct"])).double()
    classifier.load_state_dict(
        {
            "weight": oracle["weights_c"],
            "instance_weight": oracle["weights_r"],
            "scale": oracle["tau_c"],
            "instance_scale": oracle["tau_r"],
            "displacements": oracle["struct"],
        }
    )
    return classifier


@pytest.mark.oracle("gist", has=["logits_c"])
def test_logits(oracle):
    """Those of both classifiers, and those of the test."""
    classifier = loaded(oracle)
    features = oracle["feats_first_classbalanced_then_random"]
    balanced, instance = features.chunk(2)
    torch.testing.assert_close(classifier(balanced), oracle["logits_c"], **EXACT)
    torch.testing.assert_close(classifier.instance(instance), oracle["logits_r"], **EXACT)
    expected = oracle["test_logits"]
    torch.testing.assert_close(classifier(features[: len(expected)]), expected, **EXACT)


def points(weight, displacements):
    return [weight, *(weight + displacement for displacement in displacements)]


def test_a_logit_is_that_of_the_nearest_point(classifier):
    features = torch.randn(7, 6, dtype=torch.float64)
    for weight, scale, found in (
        (classifier.weight, classifier.scale, classifier(features)),
        (classifier.instance_weight, classifier.instance_scale, classifier.instance(features)),
    ):
        for label in range(5):
            cosines = [
                F.cosine_similarity(features, point[None])
                for point in points(weight[label], classifier.displacements)
            ]
            largest = torch.stack(cosines).amax(dim=0)
            torch.testing.assert_close(found[:, label], scale * largest)


def test_gradients(classifier):
    features = torch.randn(4, 6, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda x: classifier.instance(x), (features,))
    assert torch.autograd.gradcheck(lambda x: classifier(x), (features,))


def test_without_displacements_it_is_a_plain_cosine_classifier(classifier):
    features = torch.randn(7, 6, dtype=torch.float64)
    torch.nn.init.zeros_(classifier.displacements)
    cosines = F.linear(F.normalize(features), F.normalize(classifier.weight))
    torch.testing.assert_close(classifier(features), 10 * cosines)


def test_only_instance_balanced_batches_move_the_displacements(classifier):
    features = torch.randn(7, 6, dtype=torch.float64)
    (none,) = torch.autograd.grad(
        classifier(features).sum(), classifier.displacements, allow_unused=True
    )
    (some,) = torch.autograd.grad(classifier.instance(features).sum(), classifier.displacements)
    assert none is None
    assert (some != 0).any(dim=1).all()


def test_displacements_of_zero_would_not_move():
    classifier = ConstellationClassifier(6, 5, 3)
    (gradient,) = torch.autograd.grad(
        classifier.instance(torch.randn(7, 6)).sum(), classifier.displacements
    )
    assert not gradient.any()


def test_the_length_of_features_and_weights_changes_nothing(classifier):
    features = torch.randn(7, 6, dtype=torch.float64)
    before = classifier(features)
    with torch.no_grad():
        classifier.weight.mul_(3)
        classifier.displacements.mul_(3)
    torch.testing.assert_close(classifier(1e4 * features), before)


def test_large_weights_and_features_have_finite_gradients(classifier):
    with torch.no_grad():
        classifier.instance_weight.mul_(1e4)
    features = (1e4 * torch.randn(7, 6, dtype=torch.float64)).requires_grad_()
    logits = classifier.instance(features)
    found = torch.autograd.grad(logits.sum(), [features, *_instance(classifier)])
    assert logits.isfinite().all()
    assert all(each.isfinite().all() for each in found)


def _instance(classifier):
    return classifier.instance_weight, classifier.instance_scale, classifier.displacements


def test_the_start():
    torch.manual_seed(0)
    classifier = ConstellationClassifier(600, 50, 40)
    assert not classifier.displacements.any()
    assert classifier.scale.tolist() == classifier.instance_scale.tolist() == [10]
    classifier.spread(0.1)
    assert float(classifier.displacements.detach().std()) == pytest.approx(0.1, rel=0.02)
    with torch.no_grad():
        classifier.instance_weight.mul_(5)
    classifier.spread(0.1)
    assert float(classifier.displacements.detach().std()) == pytest.approx(0.5, rel=0.02)
