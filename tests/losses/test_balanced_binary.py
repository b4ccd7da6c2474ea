"""Balanced binary cross-entropy.

Of the authors' numbers `balce` is left out: it is the softmax form with smoothed labels, not this.
"""

import math

import pytest
import torch

from ltbench.losses import balanced_binary, binary, log_odds, one_vs_all_targets
from tests.losses.test_loss_oracles import EXACT

COUNTS = torch.tensor([100, 10, 1])


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(13, 3, dtype=torch.float64, generator=generator)
    return logits.requires_grad_(), torch.randint(3, (13,), generator=generator)


@pytest.mark.oracle("livt", has=["bal_bce_loss"])
@pytest.mark.parametrize("name", ["bal_bce", "bce"])
def test_balanced_binary(name, oracle):
    """With equal counts and the bias taken from the logits it is the authors' plain form."""
    logits, counts = oracle["logits"].requires_grad_(), oracle["counts"]
    shifted = logits
    if name == "bce":
        counts = torch.full_like(counts, 7)
        shifted = logits - log_odds(counts)
    labels = oracle["labels"].long()
    value = balanced_binary(shifted, labels, counts, oracle.hparams["smoothing"])
    (gradient,) = torch.autograd.grad(value, logits)
    torch.testing.assert_close(value, oracle[f"{name}_loss"], **EXACT)
    torch.testing.assert_close(gradient, oracle[f"{name}_grad"], **EXACT)


def test_log_odds_are_those_of_the_prior():
    odds = torch.tensor([100 / 11, 10 / 101, 1 / 110], dtype=torch.float64)
    torch.testing.assert_close(log_odds(COUNTS).exp(), odds)


@pytest.mark.parametrize("classes", [2, 7])
def test_equal_counts_start_classifiers_at_one_of_c(classes):
    odds = log_odds(torch.full((classes,), 5))
    torch.testing.assert_close(odds, torch.full_like(odds, -math.log(classes - 1)))


def test_zero_logits_predict_the_prior(batch):
    """The loss is then smallest with labels drawn from it: its gradient is zero."""
    logits = torch.zeros(111, 3, dtype=torch.float64, requires_grad=True)
    labels = torch.arange(3).repeat_interleave(COUNTS)
    (gradient,) = torch.autograd.grad(balanced_binary(logits, labels, COUNTS), logits)
    torch.testing.assert_close(gradient.sum(dim=0), torch.zeros(3).double(), rtol=0, atol=1e-12)


def test_without_smoothing_it_is_binary_cross_entropy_of_shifted_logits(batch):
    logits, labels = batch
    expected = binary(logits + log_odds(COUNTS), one_vs_all_targets(labels, logits.shape))
    torch.testing.assert_close(balanced_binary(logits, labels, COUNTS), expected)


def test_gradient(batch):
    logits, labels = batch
    assert torch.autograd.gradcheck(lambda z: balanced_binary(z, labels, COUNTS, 0.2), logits)


def test_large_logits_have_finite_values_and_gradients(batch):
    logits = (1e4 * batch[0].detach().sign()).float().requires_grad_()
    value = balanced_binary(logits, batch[1], COUNTS, 0.1)
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_a_single_class_has_no_odds():
    with pytest.raises(ValueError, match=r"^counts: .* two classes"):
        log_odds(torch.tensor([5]))


@pytest.mark.parametrize("smoothing", [-0.1, 1.5, math.nan])
def test_smoothing_is_a_share(smoothing, batch):
    with pytest.raises(ValueError, match=r"^smoothing: "):
        balanced_binary(*batch, COUNTS, smoothing)
