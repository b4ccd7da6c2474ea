"""Limits and invariances of the losses."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.losses import (
    balanced_softmax,
    cost_sensitive_weights,
    cross_entropy,
    effective_number_weights,
    inverse_weights,
    ldam,
    ldam_margins,
    log_prior,
    logit_adjustment,
    posthoc_adjustment,
    robal,
    robal_margins,
    survey_weights,
    vs_loss,
)

WEIGHTS = {
    "effective": effective_number_weights,
    "inverse": inverse_weights,
    "survey": survey_weights,
    "cost_sensitive": cost_sensitive_weights,
}


def weighted(weights):
    return lambda z, y, counts: cross_entropy(z, y, weights(counts))


LOSSES = {
    **{name: weighted(weights) for name, weights in WEIGHTS.items()},
    "balanced_softmax": balanced_softmax,
    "logit_adjustment": logit_adjustment,
    "logit_adjustment_2": lambda z, y, counts: logit_adjustment(z, y, counts, tau=2.0),
    "vs_loss": vs_loss,
    "cdt": lambda z, y, counts: vs_loss(z, y, counts, gamma=0.2, tau=0.0),
}
ALL = {**LOSSES, "ldam": ldam, "robal": robal}


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(13, 7, generator=generator)
    return logits, torch.randint(7, (13,), generator=generator)


def value_and_gradient(loss, logits, *args):
    logits = logits.clone().requires_grad_()
    value = loss(logits, *args)
    return value.detach(), torch.autograd.grad(value, logits)[0]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("count", [1, 3, 41, 500, 1281])
@pytest.mark.parametrize("name", LOSSES)
def test_equal_counts_are_cross_entropy_bit_for_bit(name, count, dtype, batch):
    logits, labels = batch[0].to(dtype), batch[1]
    counts = torch.full((7,), count)
    value, gradient = value_and_gradient(LOSSES[name], logits, labels, counts)
    plain, plain_gradient = value_and_gradient(cross_entropy, logits, labels)
    assert value.equal(plain)
    assert gradient.equal(plain_gradient)


@pytest.mark.parametrize("classes", [2, 3, 10, 100, 997])
@pytest.mark.parametrize("name", WEIGHTS)
def test_equal_counts_weigh_exactly_one(name, classes):
    assert WEIGHTS[name](torch.full((classes,), 77)).equal(torch.ones(classes).double())


def test_cross_entropy_is_torchs(batch):
    logits, labels = batch
    weights = torch.rand(7, generator=torch.Generator().manual_seed(1)) + 0.1
    torch.testing.assert_close(cross_entropy(logits, labels), F.cross_entropy(logits, labels))
    torch.testing.assert_close(
        cross_entropy(logits, labels, weights), F.cross_entropy(logits, labels, weights)
    )


@pytest.mark.parametrize("name", sorted(ALL.keys() - {"vs_loss", "cdt"}))
def test_a_shift_of_all_logits_changes_nothing(name, batch):
    logits, labels = batch[0].double(), batch[1]
    counts = torch.tensor([500, 200, 90, 41, 17, 6, 1])
    torch.testing.assert_close(
        ALL[name](logits + 3.7, labels, counts), ALL[name](logits, labels, counts)
    )


@pytest.mark.parametrize("name", sorted(ALL.keys() - {"effective"}))
def test_only_proportions_of_counts_matter(name, batch):
    logits, labels = batch[0].double(), batch[1]
    counts = torch.tensor([500, 200, 90, 41, 17, 6, 1])
    torch.testing.assert_close(
        ALL[name](logits, labels, 12 * counts), ALL[name](logits, labels, counts)
    )


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("name", ALL)
def test_finite_at_large_logits_with_a_class_of_one_image(name, dtype, batch):
    logits, labels = (50 * batch[0].sign()).to(dtype), batch[1]
    counts = torch.tensor([100_000, 200, 90, 41, 17, 6, 1])
    value, gradient = value_and_gradient(ALL[name], logits, labels, counts)
    assert value.dtype == dtype
    assert value.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", ALL)
def test_half_precision_logits_lose_no_more_than_their_own_rounding(name, batch):
    logits, labels = batch[0].bfloat16(), batch[1]
    counts = torch.tensor([500, 200, 90, 41, 17, 6, 1])
    with torch.autocast("cpu", torch.bfloat16):
        value = ALL[name](logits, labels, counts)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, ALL[name](logits.float(), labels, counts), rtol=1e-5, atol=0)


@pytest.mark.parametrize("function", [log_prior, ldam_margins, robal_margins, *WEIGHTS.values()])
def test_a_class_without_images_is_named(function):
    with pytest.raises(ValueError, match="without training images: 1, 3"):
        function(torch.tensor([5, 0, 2, 0]))


def test_an_epsilon_keeps_an_empty_class_finite():
    assert log_prior(torch.tensor([5, 0]), epsilon=1e-12).isfinite().all()


def test_log_prior_is_the_centered_logarithm_of_the_prior():
    counts = torch.tensor([60, 30, 10])
    prior = counts.double() / 100
    for tau, epsilon in ((1.0, 0.0), (1.5, 0.0), (2.0, 1e-3)):
        expected = (prior**tau + epsilon).log()
        torch.testing.assert_close(log_prior(counts, tau, epsilon), expected - expected.max())


def test_tau_zero_adjusts_nothing(batch):
    logits, counts = batch[0], torch.tensor([500, 200, 90, 41, 17, 6, 1])
    assert posthoc_adjustment(logits, counts, tau=0.0).equal(logits)


def test_ldam_without_margin_is_scaled_cross_entropy(batch):
    logits, labels = batch
    counts = torch.tensor([500, 200, 90, 41, 17, 6, 1])
    torch.testing.assert_close(
        ldam(logits, labels, counts, max_margin=0.0, scale=30.0), cross_entropy(30 * logits, labels)
    )
