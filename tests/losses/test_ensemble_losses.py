"""Losses of ensembles against the authors' numbers, value and gradient, and at their limits."""

import pytest
import torch

from ltbench.losses import (
    balanced_softmax,
    branch_loss,
    class_temperatures,
    cross_entropy,
    diversity,
    inverse_counts,
    inverse_softmax,
    log_prior,
    nested_groups,
)

EXACT = {"rtol": 1e-6, "atol": 1e-9}
COUNTS = torch.tensor([5, 40, 1, 12])


@pytest.mark.oracle("ride", has=["diversity_part_before"])
def test_diversity(oracle):
    hparams, logits = oracle.hparams, oracle["expert_logits"]
    base = torch.tensor(hparams["base_diversity_temperature"], dtype=torch.float64)
    late = base * class_temperatures(oracle["counts"], hparams["reweight_factor"])
    for when, temperature in (("before", base), ("after", late)):
        value = hparams["additional_diversity_factor"] * diversity(logits, temperature)
        torch.testing.assert_close(value, oracle[f"diversity_part_{when}"], **EXACT)
        single = diversity(logits.float(), temperature)
        assert single.dtype == torch.float32
        torch.testing.assert_close(
            single.double(), diversity(logits, temperature), rtol=1e-4, atol=0
        )


@pytest.mark.oracle("ride", has=["w_diversity_enabled"])
def test_class_temperatures(oracle):
    temperatures = class_temperatures(oracle["counts"], oracle.hparams["reweight_factor"])
    torch.testing.assert_close(temperatures, oracle["w_diversity_enabled"], **EXACT)


def test_equal_counts_have_one_temperature():
    assert class_temperatures(torch.full((7,), 9), 0.3).equal(torch.ones(7, dtype=torch.float64))


def test_equal_experts_do_not_diverge_and_the_mean_is_a_constant():
    logits = torch.randn(1, 5, 4, dtype=torch.float64).expand(3, -1, -1)
    one = torch.ones(())
    torch.testing.assert_close(diversity(logits, one), torch.zeros((), dtype=torch.float64))
    free = torch.randn(3, 5, 4, dtype=torch.float64, requires_grad=True)
    (gradient,) = torch.autograd.grad(diversity(free, one), free)
    mean = free.detach().mean(0).softmax(1)
    torch.testing.assert_close(gradient, (free.detach().softmax(2) - mean) / 5)


@pytest.mark.parametrize("scale", [60.0, 400.0])
def test_diversity_of_extreme_logits_is_finite(scale):
    logits = (scale * torch.randn(3, 6, 4)).requires_grad_()
    value = diversity(logits, torch.ones(()))
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.oracle("sade", has=["loss_expert3"])
def test_inverse_softmax(oracle):
    logits = oracle["expert_logits"][2].requires_grad_()
    labels, counts = oracle["labels"].long(), oracle["counts"]
    value = inverse_softmax(logits, labels, counts, oracle.hparams["tau"], 1e-9)
    (gradient,) = torch.autograd.grad(value, logits)
    torch.testing.assert_close(value, oracle["loss_expert3"], **EXACT)
    torch.testing.assert_close(gradient, oracle["grad"][2], rtol=1e-5, atol=1e-8)


@pytest.mark.oracle("sade", has=["inverse_prior"])
def test_inverse_counts(oracle):
    inverse = inverse_counts(oracle["counts"])
    torch.testing.assert_close(inverse / inverse.sum(), oracle["inverse_prior"].float())


def test_inverse_counts_go_by_rank():
    assert inverse_counts(COUNTS).tolist() == [12, 1, 40, 5]
    assert inverse_counts(torch.tensor([3, 3, 3])).tolist() == [3, 3, 3]


def test_limits_of_inverse_softmax():
    logits, labels = torch.randn(6, 4), torch.tensor([0, 1, 1, 2, 3, 3])
    expected = balanced_softmax(logits, labels, COUNTS)
    assert inverse_softmax(logits, labels, COUNTS, tau=0).equal(expected)
    equal = torch.full((4,), 9)
    assert inverse_softmax(logits, labels, equal).equal(cross_entropy(logits, labels))
    two = torch.tensor([9, 1])  # the inverse of two classes is their exchange
    shift = (log_prior(two) - log_prior(two.flip(0))).float()
    torch.testing.assert_close(
        inverse_softmax(logits[:, :2], labels % 2, two, tau=1.0),
        cross_entropy(logits[:, :2] + shift, labels % 2),
    )


@pytest.mark.oracle("reslt", level="case")
@pytest.mark.parametrize(
    ("name", "classes", "shares"), [("cifar100", 100, (0.35, 0.7)), ("cifar10", 10, (0.2, 0.4))]
)
def test_branch_loss(oracle, name, classes, shares):
    logits, labels = oracle[f"{name}_logits_H_M_T"], oracle[f"{name}_labels"].long()
    counts = torch.arange(classes, 0, -1)  # the authors name classes by position, largest first
    groups = nested_groups(counts, *shares)
    assert groups[:, labels].equal(oracle[f"{name}_mask_H_M_T"].bool())
    value = branch_loss(logits, labels, groups)
    torch.testing.assert_close(value, oracle[f"{name}_loss_ice"], **EXACT)


def test_branches_of_bfloat16_logits_are_computed_in_float32():
    logits = torch.tensor([[[7.0, 0.0, 0.0], [0.0, 1.0, 0.0]]], dtype=torch.bfloat16)
    labels, groups = torch.tensor([0, 1]), torch.ones(1, 3).bool()
    with torch.autocast("cpu", torch.bfloat16):
        found = branch_loss(logits.requires_grad_(), labels, groups)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, branch_loss(logits.float(), labels, groups))
    found.backward()
    assert logits.grad.all()  # also of the first image, whose probability is 0.998


def test_groups_go_by_size():
    groups = nested_groups(COUNTS, 0.25, 0.5)
    assert groups.tolist() == [[True] * 4, [True, False, True, True], [True, False, True, False]]
    assert nested_groups(COUNTS, 1.0, 1.0).sum(dim=1).tolist() == [4, 0, 0]


def test_a_lone_branch_of_all_classes_is_cross_entropy():
    logits, labels = torch.randn(1, 6, 4).double(), torch.tensor([0, 1, 1, 2, 3, 3])
    value = branch_loss(logits, labels, torch.ones(1, 4, dtype=torch.bool))
    torch.testing.assert_close(value, cross_entropy(logits[0], labels), rtol=1e-5, atol=0)
