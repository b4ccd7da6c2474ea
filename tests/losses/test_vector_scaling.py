"""Vector scaling and what it is the general form of."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.losses import (
    inverse_weights,
    log_prior,
    logit_adjustment,
    robal,
    robal_margins,
    vector_scaling,
    vs_loss,
)
from tests.losses.test_loss_oracles import EXACT, check

COUNTS = torch.tensor([500, 200, 90, 41, 17, 6, 1])


@pytest.mark.oracle("vs_loss", has=["loss"])
def test_vs_loss(oracle):
    gamma, tau, counts = oracle.hparams["gamma"], oracle.hparams["tau"], oracle["counts"]
    torch.testing.assert_close(inverse_weights(counts) ** gamma, oracle["Delta"], **EXACT)
    difference = log_prior(counts, tau) - oracle["iota"]  # ours is centered: one constant for all
    torch.testing.assert_close(difference, difference[0].expand_as(difference), **EXACT)
    check(oracle, lambda z, y: vs_loss(z, y, counts, gamma, tau))


@pytest.mark.oracle("cdt", has=["loss"])
def test_cdt(oracle):
    check(oracle, lambda z, y: vs_loss(z, y, oracle["counts"], oracle.hparams["gamma"], tau=0.0))


@pytest.mark.oracle("robal", has=["loss"])
def test_robal(oracle):
    margin, scale, tau_bias, tau_margin = (oracle.hparams[k] for k in ("m", "s", "tau_b", "tau_m"))
    counts = oracle["counts"]
    margins = robal_margins(counts, margin, tau_margin, scale)
    torch.testing.assert_close(margins, oracle["m_list"], **EXACT)
    check(oracle, lambda z, y: robal(z, y, counts, margin, tau_margin, tau_bias, scale))


def test_robal_of_equal_counts_has_one_margin(batch):
    logits, labels = batch
    moved = 10 * (logits - 0.1 * F.one_hot(labels, 7))
    found = robal(*batch, torch.full((7,), 41))
    torch.testing.assert_close(found, F.cross_entropy(moved, labels))


def test_without_temperatures_it_is_logit_adjustment(batch):
    for tau in (0.5, 1.0):
        expected = logit_adjustment(*batch, COUNTS, tau, epsilon=0.0)
        assert vs_loss(*batch, COUNTS, gamma=0.0, tau=tau).equal(expected)


def test_margins_are_of_the_label_and_all_is_scaled_before_the_offsets(batch):
    logits, labels = batch
    temperatures, margins, offsets = torch.rand(3, 7, dtype=torch.float64) + 0.5
    expected = logits / temperatures
    for image, label in enumerate(labels):
        expected[image, label] -= margins[label]
    expected = F.cross_entropy(7 * expected + offsets, labels)
    found = vector_scaling(
        *batch, temperatures=temperatures, margins=margins, scale=7, offsets=offsets
    )
    torch.testing.assert_close(found, expected)


@pytest.mark.parametrize("given", [{"scale": 10.0}, {"temperatures": inverse_weights(COUNTS)}])
def test_half_precision_logits_lose_no_more_than_their_own_rounding(given, batch):
    logits, labels = batch[0].bfloat16(), batch[1]
    with torch.autocast("cpu", torch.bfloat16):
        value = vector_scaling(logits, labels, **given)
    expected = vector_scaling(logits.float(), labels, **given)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)
