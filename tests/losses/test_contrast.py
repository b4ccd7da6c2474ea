import pytest
import torch

from ltbench.core.autocast import unit_rows
from ltbench.losses import contrast, cross_entropy
from ltbench.losses.contrast import similarities

CASES = {
    "plain": lambda s, p, c: contrast(s, p),
    "counted": lambda s, p, c: contrast(s, p, c),
    "normalizer": lambda s, p, c: contrast(s, p, c, torch.arange(1.0, 6.0)),
}


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(5, 8, dtype=torch.float64, generator=generator)
    positives = torch.rand(5, 8, dtype=torch.float64, generator=generator)
    counted = 2 * torch.rand(5, 8, dtype=torch.float64, generator=generator)
    return scores, positives * (positives > 0.5), counted * (counted > 0.5)


def value_and_gradient(loss, scores, *args):
    scores = scores.clone().requires_grad_()
    value = loss(scores, *args)
    return value.detach(), torch.autograd.grad(value, scores)[0]


def test_the_formula(batch):
    scores, positives, counted = batch
    sizes = torch.arange(1, 6).double()
    expected = 0.0
    for row in range(5):
        total = sum(counted[row, k] * scores[row, k].exp() for k in range(8))
        terms = [positives[row, j] * (scores[row, j] - total.log()) for j in range(8)]
        expected -= sum(terms) / sizes[row] / 5
    torch.testing.assert_close(contrast(scores, positives, counted, sizes), expected)
    means = contrast(scores, positives, counted, positives.sum(dim=1))
    assert contrast(scores, positives, counted).equal(means)


def test_one_positive_is_cross_entropy(batch):
    labels = torch.tensor([0, 7, 3, 3, 1])
    positives = torch.nn.functional.one_hot(labels, 8)
    got = value_and_gradient(contrast, batch[0], positives)
    expected = value_and_gradient(lambda s: cross_entropy(s, labels), batch[0])
    torch.testing.assert_close(got, expected)


@pytest.mark.parametrize("name", CASES)
def test_gradients(name, batch):
    scores = batch[0].requires_grad_()
    assert torch.autograd.gradcheck(lambda s: CASES[name](s, *batch[1:]), scores)


def test_a_sample_that_is_not_counted_can_be_positive(batch):
    scores, positives = batch[0], torch.eye(5, 8)
    rest = scores.masked_fill(positives.bool(), -torch.inf).logsumexp(dim=1)
    expected = (rest - scores.diagonal()).mean()
    torch.testing.assert_close(contrast(scores, positives, 1 - positives), expected)
    assert contrast(scores, positives.bool(), ~positives.bool()).equal(
        contrast(scores, positives, 1 - positives)
    )


def test_not_counted_is_as_if_it_were_not_there(batch):
    scores, positives, _ = batch
    counted = (torch.arange(8) < 6).expand(5, 8)
    value, gradient = value_and_gradient(contrast, scores, positives * counted, counted)
    alone = value_and_gradient(contrast, scores[:, :6], positives[:, :6])
    torch.testing.assert_close((value, gradient[:, :6]), alone)
    assert gradient[:, 6:].equal(torch.zeros(5, 2).double())


def test_weight_two_is_counted_twice(batch):
    scores, positives, _ = batch
    counted = torch.ones_like(scores)
    counted[:, 0] = 2
    twice = contrast(
        torch.cat([scores, scores[:, :1]], dim=1),
        torch.cat([positives, torch.zeros(5, 1)], dim=1),
    )
    torch.testing.assert_close(contrast(scores, positives, counted), twice)


@pytest.mark.parametrize("name", CASES)
def test_a_shift_of_an_anchors_scores_changes_nothing(name, batch):
    scores, *rest = batch
    shift = torch.arange(5)[:, None]
    torch.testing.assert_close(CASES[name](scores + shift, *rest), CASES[name](scores, *rest))


def test_anchors_without_positives_or_without_others_have_no_loss(batch):
    scores, positives, counted = (values.clone() for values in batch)
    positives[1], counted[3] = 0, 0
    value, gradient = value_and_gradient(contrast, scores, positives, counted)
    kept = [0, 2, 4]
    alone, own = value_and_gradient(contrast, scores[kept], positives[kept], counted[kept])
    torch.testing.assert_close((value, gradient[kept]), (alone * 3 / 5, own * 3 / 5))
    assert gradient[[1, 3]].equal(torch.zeros(2, 8).double())


def test_there_is_a_gradient_for_scores_alone(batch):
    given = [values.clone().requires_grad_() for values in (*batch, torch.arange(1.0, 6.0))]
    contrast(*given).backward()
    assert [values.grad is None for values in given] == [False, True, True, True]


@pytest.mark.parametrize("name", CASES)
@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float32, torch.float64])
def test_large_scores_are_finite(name, dtype, batch):
    scores = (1e4 * batch[0].sign()).to(dtype)
    value, gradient = value_and_gradient(CASES[name], scores, *batch[1:])
    assert value.dtype == torch.promote_types(dtype, torch.float32)
    assert value.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize(
    ("name", "position", "shape"),
    [("positives", 1, (5, 7)), ("counted", 2, (4, 8)), ("normalizer", 3, (8,))],
)
def test_shapes(name, position, shape, batch):
    args = [*batch, torch.ones(5)]
    args[position] = torch.ones(shape)
    with pytest.raises(ValueError, match=f"^{name}: expected shape"):
        contrast(*args)
    with pytest.raises(ValueError, match=r"^scores: expected shape"):
        contrast(batch[0][0], batch[1][0])
    with pytest.raises(ValueError, match=r"^scores: expected at least one"):
        contrast(batch[0][:0], batch[1][:0])


def test_similarities_are_those_of_the_values_in_half_precision():
    generator = torch.Generator().manual_seed(0)
    anchors = torch.randn(5, 16, generator=generator).bfloat16()
    samples = torch.randn(7, 16, generator=generator).bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        units = unit_rows(anchors)
        found = similarities(anchors, samples, 0.05)
    exact = anchors.double() @ samples.double().T / 0.05
    torch.testing.assert_close(found, exact.float(), rtol=1e-5, atol=1e-4)
    torch.testing.assert_close(units.norm(dim=1), torch.ones(5))
    torch.testing.assert_close(units, torch.nn.functional.normalize(anchors.float()))
