"""DRO-LT: what its stages train, its means, and its losses."""

import torch

from ltbench.losses import cross_entropy, dro_lt
from ltbench.testing import steps
from ltbench.testing.jobs import Case

CASE = Case("dro_lt", {"weight": 0.5, "temperature": 2.0})


def trained(method):
    return {name for name, value in method.named_parameters() if value.requires_grad}


def test_features_and_then_the_classifier_are_trained():
    features, classifier = steps.begin(CASE), steps.begin(CASE, 1)
    own = {"network.classifier.weight", "network.classifier.bias"}
    assert trained(classifier) == own
    assert trained(features) == {n for n, _ in features.named_parameters()} - own
    assert not any(module.training for module in classifier.train().network.backbone.modules())
    assert features.epsilons.tolist() == [1.0] * 4
    assert [each.samplers for each in CASE.method.stages] == [("class_aware(per_class=4)",)] * 2


def test_a_step_of_the_features_adds_the_robust_loss():
    method = steps.begin(CASE).double()
    with torch.no_grad():
        method.epsilons.copy_(torch.tensor([0.5, 1.0, 1.5, 2.0]))
    batch = steps.training_batch(method)
    found = method.training_loss(batch)
    features = method.network.features(batch.images)
    logits, radii = method.network.classifier(features), method.epsilons[batch.labels]
    weights = torch.tensor([40, 12, 5, 2]) / 40
    expected = {
        "classes": cross_entropy(logits, batch.labels, weights),
        "robust": 0.5 * dro_lt(features, batch.labels, method.means, radii, 2.0),
    }
    torch.testing.assert_close(found, expected)
    parameters = [method.epsilons, *method.network.backbone.parameters()]
    torch.testing.assert_close(
        *(torch.autograd.grad(losses["robust"], parameters) for losses in (found, expected))
    )


def test_means_are_those_of_the_latest_pass():
    method = steps.begin(CASE).eval()
    with torch.no_grad():
        for parameter in method.network.backbone.parameters():
            parameter.mul_(1.5)
        batches = [steps.evaluation_batch(method, seed) for seed in range(2)]
        features = torch.cat([method.network.features(each.images) for each in batches])
    before = method.means.clone()
    steps.gather_statistics(method)
    assert not method.means.equal(before)
    for k, mean in enumerate(method.means):
        torch.testing.assert_close(mean, features[k::4].double().mean(dim=0))
    steps.begin_epoch(method, 1)
    assert method.needs_statistics_now()


def test_the_classifier_has_the_plain_cross_entropy():
    method = steps.begin(CASE, 1)
    batch = steps.training_batch(method)
    expected = cross_entropy(method.network(batch.images), batch.labels)
    assert method.training_loss(batch).equal(expected)
