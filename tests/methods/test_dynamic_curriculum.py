"""DCL: schedules, weights of a batch, and triplets with easy anchors."""

import itertools

import pytest
import torch
import torch.nn.functional as F

from ltbench.methods.rebalancing.dynamic_curriculum import (
    easy_anchor_triplets,
    sampling_power,
    target_ratios,
    triplet_weight,
)
from ltbench.testing import steps
from ltbench.testing.jobs import Case

CASE = Case("dynamic_curriculum")
COUNTS, DRAWN = torch.tensor([100, 10, 1]), torch.tensor([6, 3, 1])
CE = torch.tensor([0.40760596, 0.68026967, 0.86199480], dtype=torch.float64)

EMBEDDINGS = torch.tensor([[0, 0], [1, 0], [0, 1.2], [9, 9], [9, 9]], dtype=torch.float64)
LABELS = torch.tensor([0, 0, 1, 1, 1])
OF_FIRST = torch.tensor([0.9, 0.4, 0.7, 0.1, 0.2], dtype=torch.float64)
PROBABILITIES = torch.stack([OF_FIRST, 1 - OF_FIRST], dim=1)


@pytest.mark.parametrize(
    ("epoch", "ratios", "loss"),
    [
        (0, [16.66666667, 3.33333333, 1], 4.84252880),
        (5, [4.32575892, 1.69818706, 1], 1.49069011),
        (10, [1 / 6, 1 / 3, 1], 0.19498704),
    ],
)
def test_ratios_from_the_real_to_the_uniform_distribution(epoch, ratios, loss):
    found = target_ratios(COUNTS, DRAWN, sampling_power("convex", epoch, 10))
    assert found.tolist() == pytest.approx(ratios, abs=5e-9)
    assert float((found * DRAWN * CE).sum() / 10) == pytest.approx(loss, abs=1e-7)


def test_ratios_are_relative_to_the_classes_that_are_there():
    found = target_ratios(torch.tensor([100, 10, 1]), torch.tensor([20, 2, 0]), 1.0)
    assert found.tolist() == pytest.approx([1, 1, 0])  # a batch like the training set


def test_schedules():
    powers = {
        name: [sampling_power(name, epoch, 10) for epoch in (0, 5, 10)]
        for name in ("convex", "linear", "concave", "composite")
    }
    assert powers["convex"] == pytest.approx([1, 0.5**0.5, 0])
    assert powers["linear"] == pytest.approx([1, 0.5, 0])
    assert powers["concave"] == pytest.approx([1, 0.99**5, 0.99**10])
    assert powers["composite"] == pytest.approx([1, 0.5, 0])


def test_triplets_weigh_less_and_less():
    assert triplet_weight(0.0, 0.3, 0.01) == pytest.approx(1.01)
    assert triplet_weight(0.15, 0.3, 0.01) == pytest.approx(0.95550326, abs=5e-9)
    assert triplet_weight(0.3, 0.3, 0.01) == 0.01
    assert triplet_weight(0.2999, 0.3, 0.01, smooth=True) == pytest.approx(0.01, abs=1e-4)


def test_triplets_and_their_gradient():
    def loss(embeddings, margin=0.5, images=1):
        counts = torch.tensor([3, 9])
        return easy_anchor_triplets(embeddings, PROBABILITIES, LABELS, counts, images, margin)

    assert float(loss(EMBEDDINGS)) == pytest.approx(0.3)
    assert float(loss(EMBEDDINGS, 0.1)) == 0
    embeddings = torch.randn(5, 2, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda each: loss(each, 5.0, 5), (embeddings,))
    pairs = [(0, 1, other) for other in (2, 3, 4)]  # image 1 is taken for the other class
    expected = [
        0.5 + (EMBEDDINGS[a] - EMBEDDINGS[p]).norm() - (EMBEDDINGS[a] - EMBEDDINGS[n]).norm()
        for a, p, n in pairs
    ]
    assert float(loss(EMBEDDINGS, images=5)) == pytest.approx(
        float(torch.stack(expected).relu().mean())
    )


def test_a_batch_without_triplets_has_no_loss_and_a_gradient_of_zero():
    embeddings = torch.zeros(4, 2, requires_grad=True)  # equal, and no class is a minority
    for labels in (torch.tensor([0, 0, 0, 0]), torch.tensor([0, 1, 1, 1])):
        halves, counts = torch.full((4, 2), 0.5), torch.tensor([9, 3])
        loss = easy_anchor_triplets(embeddings, halves, labels, counts, 5, 0.5)
        (gradient,) = torch.autograd.grad(loss, embeddings)
        assert float(loss.detach()) == 0
        assert not gradient.any()
        assert gradient.isfinite().all()


def test_a_step_weighs_images_and_adds_triplets():
    method = steps.begin(CASE).double()
    batch = steps.training_batch(method)
    steps.begin_epoch(method, 1)
    ratios = target_ratios(method.counts, torch.tensor([5, 1, 1, 1]), 0.5**0.5)
    uniform = method.rng.uniform(batch.labels)
    steps.begin_epoch(method, 1)
    found = method.training_loss(batch)
    of_image = ratios[batch.labels]
    weights = torch.where(of_image >= 1, of_image.minimum(torch.tensor(10.0)), uniform < of_image)
    losses = F.cross_entropy(method.network(batch.images), batch.labels, reduction="none")
    torch.testing.assert_close(found["classes"], (weights * losses).mean())
    assert set(found) == {"classes", "triplets"}


def test_heavy_images_are_bounded_and_light_ones_stay_by_chance():
    method = steps.begin(CASE, counts=(4000, 400, 10, 1))
    steps.begin_epoch(method)
    weights = method.weights(torch.tensor([0, 1, 2, 2, 2, 2, 3, 3]))
    assert weights[0] == 10
    even = steps.begin(CASE, counts=(9, 9, 9, 9))
    steps.begin_epoch(even)
    kept = torch.stack([even.weights(torch.tensor([0] * 4 + [1])) for _ in range(1000)])
    assert set(kept[:, :4].unique().tolist()) == {0, 1}
    assert float(kept[:, :4].mean()) == pytest.approx(0.25, abs=0.03)
    assert kept[:, 4].eq(1).all()


def test_mined_triplets_are_active_in_training():
    method = steps.begin(CASE)
    batch = steps.evaluation_batch(method)
    steps.begin_epoch(method)
    features = F.normalize(method.embedding(method.network.features(batch.images)))
    known = F.one_hot(batch.labels, 4).float()
    loss = easy_anchor_triplets(features, known, batch.labels, method.counts, 5, 0.5)
    assert loss > 0


@pytest.mark.parametrize(("counts", "minority"), [((30, 8, 5, 2), (2, 3)), ((2, 5, 8, 30), (0, 1))])
def test_of_classes_of_one_size_in_a_batch_the_smallest_have_triplets(counts, minority):
    labels, rows = torch.tensor([0, 1, 2, 3, 0, 1, 2, 3]), range(8)
    embeddings = torch.randn(8, 5, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    known = F.one_hot(labels, 4).double()
    found = easy_anchor_triplets(embeddings, known, labels, torch.tensor(counts), 8, 0.5)
    distances = torch.cdist(embeddings, embeddings)
    hinges = [
        F.relu(0.5 + distances[a, p] - distances[a, n])
        for a, p, n in itertools.permutations(rows, 3)
        if int(labels[a]) in minority and labels[a] == labels[p] != labels[n]
    ]
    torch.testing.assert_close(found, torch.stack(hinges).mean())
