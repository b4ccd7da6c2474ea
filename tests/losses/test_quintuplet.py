"""The quintuplet loss: the numbers of the formula, weights, gradients, missing images."""

import pytest
import torch

from ltbench.losses import quintuplet

MARGINS = 0.2, 0.1, 0.3
LABELS = torch.tensor([0, 0, 0, 2, 1, 1])


@pytest.fixture
def distances():
    generator = torch.Generator().manual_seed(0)
    return torch.rand(6, 4, dtype=torch.float64, generator=generator)


def all_known(distances):
    return torch.ones_like(distances, dtype=torch.bool)


def test_the_numbers_of_a_quintuplet():
    distances = torch.tensor([[0.1, 0.25, 0.3, 0.5]], dtype=torch.float64)
    found = quintuplet(distances, LABELS[:1], MARGINS, all_known(distances))
    assert [float(each) for each in found] == pytest.approx([0.05, 0.05, 0.1])


def test_the_formula_anchor_by_anchor(distances):
    weights = [1 / 3, 1 / 3, 1 / 3, 1, 1 / 2, 1 / 2]
    expected = [0.0, 0.0, 0.0]
    for weight, row in zip(weights, distances.tolist(), strict=True):
        for term, margin in enumerate(MARGINS):
            expected[term] += weight * max(margin + row[term] - row[term + 1], 0) / sum(weights)
    found = quintuplet(distances, LABELS, MARGINS, all_known(distances))
    assert [float(each) for each in found] == pytest.approx(expected)
    assert min(expected) > 0


def test_an_order_with_margins_has_no_loss():
    distances = torch.tensor([[0.1, 0.31, 0.42, 0.73]]).repeat(6, 1)
    assert quintuplet(distances, LABELS, MARGINS, all_known(distances)) == (0, 0, 0)


@pytest.mark.parametrize(("lacks", "zero"), [(0, {0}), (1, {0, 1}), (2, set()), (3, {2})])
def test_a_hinge_is_zero_without_the_images_that_it_needs(lacks, zero):
    distances = torch.ones(6, 4)
    known = all_known(distances)
    known[:, lacks] = False
    found = quintuplet(distances, LABELS, MARGINS, known)
    assert {term for term, value in enumerate(found) if value == 0} == zero


def test_a_missing_image_leaves_the_weights(distances):
    known = all_known(distances)
    known[1, 3] = False
    whole = quintuplet(distances, LABELS, MARGINS, all_known(distances))
    hinge = max(0.3 + float(distances[1, 2] - distances[1, 3]), 0)
    found = quintuplet(distances, LABELS, MARGINS, known)
    assert hinge > 0
    assert float(whole[2] - found[2]) == pytest.approx(hinge / 9)


def test_gradients(distances):
    known = all_known(distances)
    known[0, 0] = known[3, 3] = False

    def total(values):
        return sum(quintuplet(values, LABELS, MARGINS, known))

    assert torch.autograd.gradcheck(total, (distances.requires_grad_(),))


def test_large_distances_are_finite(distances):
    values = (1e4 * distances).float().requires_grad_()
    losses = quintuplet(values, LABELS, MARGINS, all_known(values))
    (gradient,) = torch.autograd.grad(sum(losses), values)
    assert all(each.isfinite() for each in losses)
    assert gradient.isfinite().all()


def test_half_precision_is_computed_in_single_precision(distances):
    half = distances.bfloat16()
    found = quintuplet(half, LABELS, MARGINS, all_known(half))
    expected = quintuplet(half.float(), LABELS, MARGINS, all_known(half))
    assert all(each.dtype == torch.float32 for each in found)
    assert found == expected


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"distances": torch.zeros(6, 3)}, "distances: expected shape"),
        ({"labels": LABELS[:5]}, "labels: expected shape"),
        ({"labels": LABELS - 1}, "labels: -1 is not a class"),
        ({"margins": (0.1, -0.1, 0.2)}, "margins: expected three, at least 0"),
        ({"margins": (0.1, 0.1)}, "margins: expected three, at least 0"),
        ({"known": torch.ones(6, 3, dtype=torch.bool)}, "known: expected shape"),
    ],
)
def test_bad_input(change, words):
    arguments = {"distances": torch.zeros(6, 4), "labels": LABELS, "margins": MARGINS}
    arguments["known"] = torch.ones(6, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match=words):
        quintuplet(**arguments | change)
