"""The class rectification loss: the numbers of its sheet, mining, and batches without triplets."""

import pytest
import torch

from ltbench.losses import class_imbalance, class_rectification
from ltbench.losses.triplets import largest, minority_classes

COUNTS = torch.tensor([90, 30, 8, 8])
LABELS = torch.tensor([3, 0, 1, 0, 3, 1, 0, 1, 2, 3, 0, 0, 1, 0, 0, 0])


@pytest.fixture
def probabilities():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(16, 4, dtype=torch.float64, generator=generator).softmax(dim=1)


def by_hand(probabilities, labels, minority, margin, k):
    """Return the loss, triplet by triplet."""
    hinges = []
    for a, c in enumerate(labels.tolist()):
        p = probabilities[:, c].tolist()
        own = [i for i in range(len(labels)) if labels[i] == c and i != a]
        rest = [i for i in range(len(labels)) if labels[i] != c]
        for i in sorted(own, key=p.__getitem__)[:k]:
            for j in sorted(rest, key=p.__getitem__)[-k:]:
                if c in minority:
                    hinges.append(max(0, margin + abs(p[a] - p[i]) - (p[a] - p[j])))
    return sum(hinges) / len(hinges)


def test_numbers_of_the_sheet():
    of_first = torch.tensor([0.9, 0.4, 0.7, 0.1], dtype=torch.float64)
    probabilities = torch.stack([of_first, 1 - of_first], dim=1)
    labels, counts = torch.tensor([0, 0, 1, 1]), torch.tensor([2, 20])
    found = class_rectification(probabilities, labels, counts, 0.5, hardest=1)
    assert float(found) == pytest.approx((0.8 + 1.3) / 2)


@pytest.mark.parametrize("k", [1, 2, 5, 99])
@pytest.mark.parametrize("margin", [0.0, 0.1, 0.5])
def test_the_formula_triplet_by_triplet(k, margin, probabilities):
    found = class_rectification(probabilities, LABELS, COUNTS, margin, hardest=k)
    expected = by_hand(probabilities, LABELS, {1, 3}, margin, k)
    assert float(found) == pytest.approx(expected)


def test_gradients_reach_anchors_positives_and_negatives(probabilities):
    def loss(values):
        return class_rectification(values, LABELS, COUNTS, 0.3, hardest=2)

    assert torch.autograd.gradcheck(loss, (probabilities.requires_grad_(),))
    of_first = torch.tensor([0.9, 0.4, 0.7, 0.1], dtype=torch.float64)
    values = torch.stack([of_first, 1 - of_first], dim=1).requires_grad_()
    labels, counts = torch.tensor([0, 0, 1, 1]), torch.tensor([2, 20])
    loss = class_rectification(values, labels, counts, 0.5, hardest=1)
    (gradient,) = torch.autograd.grad(loss, values)
    # (0; 1; 2): p0 - p1 - p0 + p2, and (1; 0; 2): p0 - p1 - p1 + p2, halved
    assert gradient[:, 0].tolist() == pytest.approx([0.5, -1.5, 1.0, 0.0])
    assert not gradient[:, 1].any()


def test_images_of_large_classes_are_no_anchors(probabilities):
    changed = probabilities.clone()
    changed[:, [0, 2]] = changed[:, [0, 2]].flip(0)  # p of classes that are no minorities
    found = class_rectification(changed, LABELS, COUNTS)
    assert found.equal(class_rectification(probabilities, LABELS, COUNTS))


def test_of_classes_of_one_size_in_a_batch_the_smaller_one_has_the_anchors(probabilities):
    labels = torch.tensor([0, 0, 1, 1])
    found = class_rectification(probabilities[:4], labels, torch.tensor([20, 2, 9, 9]))
    assert float(found) == pytest.approx(by_hand(probabilities[:4], labels, {1}, 0.5, 5))
    assert float(found) != pytest.approx(by_hand(probabilities[:4], labels, {0}, 0.5, 5))


def test_order_of_images_does_not_matter(probabilities):
    order = torch.randperm(16, generator=torch.Generator().manual_seed(1))
    found = class_rectification(probabilities[order], LABELS[order], COUNTS, hardest=2)
    expected = class_rectification(probabilities, LABELS, COUNTS, hardest=2)
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize(
    "labels",
    [
        torch.tensor([0, 1, 2, 3]),  # no class has two images
        torch.tensor([0, 0, 0, 0]),  # no negatives
        torch.tensor([0, 0, 0, 1]),
        torch.tensor([2]),
    ],
)
def test_a_batch_without_triplets_has_no_loss_and_a_gradient_of_zero(labels):
    values = torch.full((len(labels), 4), 0.25, requires_grad=True)
    loss = class_rectification(values, labels, COUNTS)
    (gradient,) = torch.autograd.grad(loss, values)
    assert float(loss.detach()) == 0
    assert gradient.eq(0).all()


@pytest.mark.parametrize("scale", [0.0, 1.0, 1e4])
def test_values_and_gradients_are_finite(scale, probabilities):
    logits = (scale * probabilities.log()).float().requires_grad_()
    loss = class_rectification(logits.softmax(dim=1), LABELS, COUNTS)
    (gradient,) = torch.autograd.grad(loss, logits)
    assert loss > 0
    assert gradient.isfinite().all()


def test_half_precision_is_computed_in_single_precision(probabilities):
    half = probabilities.bfloat16()
    found = class_rectification(half, LABELS, COUNTS)
    assert found.dtype == torch.float32
    assert found.equal(class_rectification(half.float(), LABELS, COUNTS))


def test_imbalance():
    assert float(class_imbalance(torch.tensor([100, 10, 1]))) == pytest.approx(1 - 111 / 300)
    assert float(class_imbalance(torch.tensor([7, 7, 7]))) == 0


def test_minority_classes_have_two_images_and_at_most_half_of_a_batch():
    counts = torch.tensor([9, 9, 9, 9])
    drawn = torch.tensor([5, 2, 1, 2])
    assert minority_classes(drawn, 10, counts).tolist() == [False, True, False, True]
    assert not minority_classes(torch.tensor([6, 4, 0]), 10, counts[:3])[0]
    assert not minority_classes(torch.tensor([2, 2]), 2, counts[:2]).any()


def test_of_classes_of_one_size_in_a_batch_those_with_few_training_images_are_minorities():
    drawn, counts = torch.tensor([4, 4, 4, 0, 4]), torch.tensor([90, 30, 8, 1, 10])
    assert minority_classes(drawn, 16, counts).tolist() == [False, False, True, False, True]
    assert minority_classes(torch.tensor([5, 4, 3]), 12, torch.tensor([1, 9, 50])).tolist() == [
        *(False, False, True)
    ]


def test_largest_scores_are_those_that_are_allowed():
    scores = torch.tensor([[1.0, 5.0, 3.0]])
    columns, there = largest(scores, torch.tensor([[True, False, True]]), 3)
    assert columns[0, :2].tolist() == [2, 0]
    assert there.tolist() == [[True, True, False]]


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": LABELS[:5]}, "labels: expected shape"),
        ({"labels": LABELS + 1}, "labels: 4 is not a class"),
        ({"probabilities": torch.zeros(16)}, "probabilities: expected shape"),
        ({"counts": COUNTS[:3]}, "counts: expected shape"),
        ({"counts": torch.tensor([1, 2, 0, 3])}, "classes without training images: 2"),
        ({"margin": -1.0}, "margin: expected at least 0"),
        ({"hardest": 0}, "hardest: expected at least 1"),
    ],
)
def test_bad_input(change, words):
    arguments = {"probabilities": torch.zeros(16, 4), "labels": LABELS, "counts": COUNTS} | change
    with pytest.raises(ValueError, match=words):
        class_rectification(**arguments)
