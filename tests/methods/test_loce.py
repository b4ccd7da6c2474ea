"""LOCE: its scores, its loss, and the features that it replays."""

import pytest
import torch

from ltbench.losses import balanced_softmax, cross_entropy
from ltbench.methods.rebalancing.loce import drawn_classes, updated_scores
from ltbench.testing import steps
from ltbench.testing.jobs import Case

TOY = torch.tensor([[2.0, 1.0, 0.0]]).double()


def with_scores(scores, logits):
    """Return LOCE with given scores, whose classifier returns its input."""
    method = steps.build(Case("loce")).double()
    method.scores = torch.tensor(scores, dtype=torch.float64)
    method.network.classifier = torch.nn.Identity()
    return method, logits.clone().requires_grad_()


def test_the_score_of_a_class_takes_a_batch_at_once():
    scores, images = torch.full((2,), 0.01, dtype=torch.float64), torch.tensor([3.0, 0.0]).double()
    found = updated_scores(scores, torch.tensor([1.5, 0.0]).double(), images)
    assert found.tolist() == pytest.approx([0.14279, 0.01], rel=1e-12)


@pytest.mark.parametrize(("label", "expected"), [(0, 0.18303516), (1, 1.87618234), (2, 4.26247670)])
def test_the_equilibrium_loss_and_its_gradient(label, expected):
    method, logits = with_scores([0.8, 0.4, 0.1], TOY)
    loss = method.equilibrium_loss(logits, torch.tensor([label]))
    assert float(loss.detach()) == pytest.approx(expected, abs=5e-9)
    weighted = method.scores * TOY[0].exp()
    gradient = weighted / weighted.sum()
    gradient[label] -= 1
    torch.testing.assert_close(torch.autograd.grad(loss, logits)[0][0], gradient)


def test_limits_of_the_equilibrium_loss():
    labels = torch.tensor([0, 1, 2])
    logits = TOY.expand(3, 3) * torch.tensor([[1.0], [2.0], [3.0]])
    counts = torch.tensor([500, 100, 20])
    method, _ = with_scores([0.3, 0.3, 0.3], logits)
    torch.testing.assert_close(
        method.equilibrium_loss(logits, labels), cross_entropy(logits, labels)
    )
    method.scores = counts / counts.sum(dtype=torch.float64)
    expected = balanced_softmax(logits, labels, counts)
    torch.testing.assert_close(method.equilibrium_loss(logits, labels), expected)
    method.scores = method.scores / 7
    torch.testing.assert_close(method.equilibrium_loss(logits, labels), expected)
    method.scores = torch.tensor([0.5, 0.0, 0.5]).double()
    assert method.equilibrium_loss(logits, labels).isfinite()


def test_classes_are_drawn_with_the_inverse_of_their_scores():
    scores = torch.tensor([0.8, 0.4, 0.1], dtype=torch.float64)
    bounds = torch.tensor([0.09090909, 0.09090909 + 0.18181818])
    for low, high, numbers in ((0, 1, bounds), (1, 2, bounds.flip(0)[:1])):
        assert drawn_classes(scores, numbers - 1e-5).tolist()[0] == low
        assert drawn_classes(scores, numbers + 1e-5).tolist()[0] == high
    numbers = torch.rand(200_000, generator=torch.Generator().manual_seed(0))
    shares = drawn_classes(scores, numbers).bincount() / len(numbers)
    assert shares.tolist() == pytest.approx([1 / 11, 2 / 11, 8 / 11], abs=0.005)
    assert drawn_classes(scores, torch.tensor([0.0, 1 - 2**-24])).tolist() == [0, 2]


def started(**hparams):
    return steps.begin(Case("loce", hparams)).double()


def test_the_pass_fills_memory_and_scores():
    method = steps.begin(Case("loce"))
    batches = [steps.evaluation_batch(method, seed) for seed in range(2)]
    assert method.memory.seen.tolist() == [4, 4, 4, 4]
    with torch.no_grad():
        features = torch.cat([method.eval().network.features(each.images) for each in batches])
    labels = torch.cat([each.labels for each in batches])
    for k in range(steps.CLASSES):
        stored = method.memory.values[80 * k : 80 * k + 4]
        torch.testing.assert_close(stored, features[labels == k])


def test_the_pass_is_a_single_update_of_the_scores():
    method = steps.build(Case("loce"))
    method.on_stage_start(method.stage)
    batch = steps.evaluation_batch(method)
    method.eval()
    with torch.inference_mode():
        method.update_statistics(batch)
        method.finalize_statistics()
        mine = method.network(batch.images).double().softmax(dim=1)[0::4, 0].mean()
    kept = 0.9**2
    assert float(method.scores[0]) == pytest.approx(kept * 0.01 + (1 - kept) * float(mine))


def test_the_loss_is_a_mean_over_images_and_replayed_features():
    method = started(classes=3, per_class=2)
    batch = steps.training_batch(method)
    with torch.no_grad():
        features = method.network.features(batch.images)
        before = method.scores.clone()
        steps.begin_epoch(method)
        classes, stored = method.replay()
        assert len(classes) == len(stored) == 6
        found = steps.loss_of(method, batch)
        logits = method.network.classifier(torch.cat([features, stored]))
        labels = torch.cat([batch.labels, classes])
        expected = cross_entropy(logits + method.scores.log(), labels)
        torch.testing.assert_close(found, expected)
        probabilities = logits.softmax(dim=1).gather(1, labels[:, None])[:, 0]
    for k in range(steps.CLASSES):
        own = probabilities[:8][batch.labels == k].tolist()
        again = probabilities[8:][classes == k].tolist()
        own += [sum(again) / len(again)] if again else []
        kept = 0.9 ** len(own)
        expected = kept * float(before[k]) + (1 - kept) * sum(own) / len(own)
        assert float(method.scores[k]) == pytest.approx(expected, rel=1e-9)
    assert method.memory.seen.tolist() == [9, 5, 5, 5]


def test_the_classifier_alone_is_trained():
    method = started()
    trained = {name for name, value in method.named_parameters() if value.requires_grad}
    assert trained == {"network.classifier.weight", "network.classifier.bias"}
    assert not any(module.training for module in method.train().network.backbone.modules())
