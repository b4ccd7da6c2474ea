"""MaxNorm: a bound on the norms of class weights."""

import pytest
import torch

from ltbench.classifiers import bounded, norm_bound, tau_normalized

EXACT = {"rtol": 1e-6, "atol": 1e-9}


@pytest.mark.oracle("weight_balancing", variants=["maxnorm"])
def test_authors_numbers(oracle):
    """Their biases have an infinite bound: ours are not touched."""
    bound = norm_bound(oracle["start_weight"], oracle.hparams["thresh"])
    torch.testing.assert_close(bound, oracle["threshold"], **EXACT)
    torch.testing.assert_close(
        bounded(oracle["weight_before"], bound), oracle["weight_after"], **EXACT
    )
    assert oracle["bias_threshold_is_inf"]
    assert oracle["bias_before"].equal(oracle["bias_after"])


@pytest.mark.oracle("weight_balancing", variants=["tau_norm_1", "tau_norm_1.9"])
def test_authors_tau_normalization_of_weights(oracle):
    """Weights alone: they keep the biases, which the method `tau_norm` drops."""
    weights = tau_normalized(oracle["weight_before"], oracle.hparams["tau"])
    torch.testing.assert_close(weights, oracle["weight_after"], **EXACT)


def test_numbers_of_the_sheet():
    weight = torch.diag(torch.tensor([3.0, 2.0, 1.0], dtype=torch.float64))
    bound = norm_bound(weight, 0.1)
    assert float(bound) == pytest.approx(1.2)
    factors = bounded(weight, bound).diag() / weight.diag()
    assert factors.tolist() == pytest.approx([0.4, 0.6, 1.0])
    assert float(tau_normalized(weight, 1.9)[0].norm()) == pytest.approx(0.37204106)


def test_bounding_twice_is_bounding_once_and_lengthens_no_row():
    weight = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)).double()
    bound = norm_bound(weight, 0.3)
    once = bounded(weight, bound)
    torch.testing.assert_close(bounded(once, bound), once)
    assert (once.norm(dim=1) <= weight.norm(dim=1)).all()
    assert (once.norm(dim=1) <= bound + 1e-12).all()
    short = weight.norm(dim=1) <= bound
    assert once[short].equal(weight[short])
    assert 0 < short.sum() < 9


def test_a_share_of_one_changes_nothing():
    weight = torch.randn(9, 4, generator=torch.Generator().manual_seed(0)).double()
    assert bounded(weight, norm_bound(weight, 1.0)).equal(weight)


def test_rows_of_zeros_stay():
    weight = torch.zeros(2, 3)
    assert bounded(weight, norm_bound(weight, 0.1)).equal(weight)
    assert bounded(weight, torch.tensor(torch.inf)).equal(weight)
