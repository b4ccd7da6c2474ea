"""Each loss against the authors' numbers, value and gradient."""

import re

import pytest
import torch
from scipy.optimize import brentq

from ltbench.losses import (
    balanced_softmax,
    cost_sensitive_weights,
    cross_entropy,
    effective_number_weights,
    inverse_weights,
    ldam,
    ldam_margins,
    logit_adjustment,
    posthoc_adjustment,
    survey_weights,
)

EXACT = {"rtol": 1e-6, "atol": 1e-9}


def check(oracle, loss):
    logits = oracle["logits"].requires_grad_()
    value = loss(logits, oracle["labels"])
    (gradient,) = torch.autograd.grad(value, logits)
    torch.testing.assert_close(value, oracle["loss"], **EXACT)
    torch.testing.assert_close(gradient, oracle["grad_logits"], **EXACT)

    logits = logits.detach().float().requires_grad_()
    value = loss(logits, oracle["labels"])
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value.double(), oracle["loss"], rtol=1e-4, atol=1e-6)
    assert gradient.isfinite().all()


@pytest.mark.oracle("weighted_ce", has=["loss"])
def test_weighted_cross_entropy(oracle):
    hparams, weights = oracle.hparams, None
    if "beta" in hparams:
        weights = effective_number_weights(oracle["counts"], hparams["beta"])
    elif "gamma" in hparams:
        weights = cost_sensitive_weights(oracle["counts"], hparams["gamma"])
    if weights is not None:
        torch.testing.assert_close(weights, oracle["weights"], **EXACT)
    check(oracle, lambda logits, labels: cross_entropy(logits, labels, weights))


@pytest.mark.oracle("weighted_ce", has=["counts", "weights"], level="case")
def test_survey_weights(oracle):
    torch.testing.assert_close(survey_weights(oracle["counts"]), oracle["weights"], **EXACT)


@pytest.mark.oracle("weighted_ce", has=["counts"], level="case")
def test_inverse_weights_are_cost_sensitive_ones_up_to_a_factor(oracle):
    ratio = inverse_weights(oracle["counts"]) / cost_sensitive_weights(oracle["counts"])
    torch.testing.assert_close(ratio, ratio.mean().expand_as(ratio))


@pytest.mark.oracle("class_balanced", has=["weights"], level="variant")
def test_effective_number_weights(oracle):
    weights = effective_number_weights(oracle["counts"], oracle.hparams["beta"])
    torch.testing.assert_close(weights, oracle["weights"], rtol=1e-6, atol=1e-9)


@pytest.mark.oracle("class_balanced", level="case")
def test_effective_number_weights_of_every_beta(oracle):
    """The file names beta only: it is solved for from two classes."""
    counts = oracle["counts"]
    low, high = int(counts.argmin()), int(counts.argmax())
    names = [name for name in oracle.own if name.startswith("weights")]
    assert names
    for name in names:
        expected = oracle[name]
        ratio = float(expected[low] / expected[high])
        n, m = int(counts[low]), int(counts[high])
        beta = brentq(lambda b: (1 - b**m) / (1 - b**n) - ratio, 0.0, 1 - 1e-9, xtol=1e-15)  # noqa: B023
        torch.testing.assert_close(effective_number_weights(counts, beta), expected, **EXACT)


@pytest.mark.oracle("balanced_softmax", has=["loss"])
def test_balanced_softmax(oracle):
    check(oracle, lambda z, y: balanced_softmax(z, y, oracle["counts"]))


@pytest.mark.oracle("logit_adjustment", has=["loss"])
def test_logit_adjustment(oracle):
    tau, epsilon = oracle.hparams["tau"], oracle.hparams["eps"]
    check(oracle, lambda z, y: logit_adjustment(z, y, oracle["counts"], tau, epsilon))


@pytest.mark.oracle("logit_adjustment", has=["posthoc_logits"])
def test_posthoc_adjustment(oracle):
    tau, epsilon = oracle.hparams["tau"], oracle.hparams["eps"]
    adjusted = posthoc_adjustment(oracle["logits"], oracle["counts"], tau, epsilon)
    expected = oracle["posthoc_logits"]
    difference = adjusted[: len(expected)] - expected  # ours are centered: one constant for all
    torch.testing.assert_close(difference, difference[0, 0].expand_as(difference), **EXACT)
    assert adjusted.argmax(dim=1).equal(oracle["posthoc_pred"])


@pytest.mark.oracle("ldam", has=["loss"])
def test_ldam(oracle):
    hparams, counts, weights = oracle.hparams, oracle["counts"], None
    if hparams["weight"] is not None:
        beta = float(re.search(r"beta ([\d.]+)", hparams["weight"])[1])
        weights = effective_number_weights(counts, beta)
    check(oracle, lambda z, y: ldam(z, y, counts, hparams["max_m"], hparams["s"], weights))


@pytest.mark.oracle("ldam", has=["loss"])
def test_ldam_margins(oracle):
    margins = ldam_margins(oracle["counts"], oracle.hparams["max_m"])
    torch.testing.assert_close(margins, oracle["m_list"], **EXACT)


@pytest.mark.oracle("ldam", has=["drw_weights_epoch160"], level="case")
def test_drw_weights(oracle):
    weights = effective_number_weights(oracle["counts"])
    torch.testing.assert_close(weights, oracle["drw_weights_epoch160"], **EXACT)
