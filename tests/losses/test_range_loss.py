"""The range loss: reference numbers, gradients, and batches with few images of a class."""

import pytest
import torch

from ltbench.losses import range_loss

LABELS = torch.tensor([4, 0, 0, 4, 0, 2, 4, 2])


@pytest.fixture
def features():
    generator = torch.Generator().manual_seed(0)
    return torch.randn(8, 3, dtype=torch.float64, generator=generator)


def by_hand(features, labels, margin, k, power):
    """Return both losses, class by class."""
    within, means = 0.0, []
    for each in labels.unique():
        rows = features[labels == each]
        means.append(rows.mean(dim=0))
        pairs = [(rows[i] - rows[j]).norm() ** power for i in range(len(rows)) for j in range(i)]
        largest = sorted(pairs, reverse=True)[:k]
        within += len(largest) / sum(1 / each for each in largest) if largest else 0
    gaps = [(a - b).norm() ** power for i, a in enumerate(means) for b in means[:i]]
    return float(within), float(max(margin - min(gaps), 0))


@pytest.mark.oracle("range_loss", has=["feats"])
@pytest.mark.parametrize(("kind", "squared"), [("port_euclid", False), ("squared", True)])
def test_reference_numbers(kind, squared, oracle):
    features, h = oracle["feats"].requires_grad_(), oracle.hparams
    margin = h["margin"] if kind == "port_euclid" else float(oracle["squared_hp_margin"])
    intra, inter = range_loss(
        features, oracle["labels"].long(), margin, hardest=h["k"], squared=squared
    )
    total = h["alpha"] * intra + h["beta"] * inter
    (gradient,) = torch.autograd.grad(total, features)
    close = {"rtol": 1e-9, "atol": 1e-10}
    for value, name in ((intra, "intra"), (inter, "inter"), (total, "total")):
        torch.testing.assert_close(value, oracle[f"{kind}_{name}"], **close)
    stored = oracle.own[f"{kind}_grad"].dtype
    rtol = 1e-6 if stored == "float32" else 1e-9
    expected = oracle[f"{kind}_grad"]
    torch.testing.assert_close(
        gradient, expected, rtol=rtol, atol=rtol * float(expected.abs().max())
    )


@pytest.mark.parametrize("k", [1, 2, 3, 9])
@pytest.mark.parametrize("squared", [False, True])
def test_the_formula_class_by_class(k, squared, features):
    found = range_loss(features, LABELS, 5.0, hardest=k, squared=squared)
    expected = by_hand(features, LABELS, 5.0, k, 2 if squared else 1)
    assert [float(each) for each in found] == pytest.approx(expected)
    assert expected[1] > 0


@pytest.mark.parametrize("squared", [False, True])
def test_gradients(squared, features):
    def total(values):
        return sum(range_loss(values, LABELS, 5.0, squared=squared))

    assert torch.autograd.gradcheck(total, (features.requires_grad_(),))


def test_order_of_rows_rotations_and_names_of_classes_do_not_matter(features):
    order = torch.tensor([3, 1, 7, 0, 2, 6, 5, 4])
    turned, _ = torch.linalg.qr(features[:3])
    expected = range_loss(features, LABELS, 5.0)
    for found in (
        range_loss(features[order], LABELS[order], 5.0),
        range_loss(features @ turned, LABELS, 5.0),
        range_loss(features + 3, LABELS * 1000, 5.0),
    ):
        torch.testing.assert_close(found, expected)


def test_a_class_of_a_single_image_counts_between_classes_alone(features):
    labels = torch.tensor([0, 1, 2, 3, 4, 5, 6, 7])
    within, between = range_loss(features, labels, 50.0)
    assert within == 0
    assert float(between) == pytest.approx(by_hand(features, labels, 50.0, 2, 2)[1])


def test_a_batch_of_one_class_has_no_loss_between_classes(features):
    values = features.requires_grad_()
    within, between = range_loss(values, torch.full((8,), 3), 50.0)
    (gradient,) = torch.autograd.grad(within + between, values)
    assert within > 0
    assert between == 0
    assert gradient.isfinite().all()


def test_means_beyond_the_margin_have_no_loss(features):
    assert range_loss(features, LABELS, 0.0)[1] == 0


@pytest.mark.parametrize("scale", [0.0, 1e-22, 1e-12, 1.0, 1e4])
@pytest.mark.parametrize("squared", [False, True])
def test_values_and_gradients_are_finite(scale, squared, features):
    values = (scale * features).float()
    values[2] = values[1]  # the same image twice
    values.requires_grad_()
    losses = range_loss(values, LABELS, 2e4, squared=squared)
    (gradient,) = torch.autograd.grad(sum(losses), values)
    assert all(each.isfinite() for each in losses)
    assert gradient.isfinite().all()
    assert losses[0].dtype == torch.float32


def test_half_precision_is_computed_in_single_precision(features):
    half = features.bfloat16()
    for found, expected in zip(
        range_loss(half, LABELS, 5.0), range_loss(half.float(), LABELS, 5.0), strict=True
    ):
        assert found.dtype == torch.float32
        assert found.equal(expected)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"labels": LABELS[:5]}, "labels: expected shape"),
        ({"labels": -LABELS}, "labels: -4 is not a class"),
        ({"features": torch.zeros(8)}, "features: expected shape"),
        ({"features": torch.zeros(0, 3), "labels": LABELS[:0]}, "labels: expected at least one"),
        ({"margin": -1.0}, "margin: expected at least 0"),
        ({"hardest": 0}, "hardest: expected at least 1"),
    ],
)
def test_bad_input(change, words):
    arguments = {"features": torch.zeros(8, 3), "labels": LABELS, "margin": 1.0} | change
    with pytest.raises(ValueError, match=words):
        range_loss(**arguments)
