"""Distillation against the numbers of DiVE and SSD, value and gradient, and in its limits."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.losses import distillation, mutual_distillation

EXACT = {"rtol": 1e-8, "atol": 1e-12}


def drawn(classes=5, networks=2):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(networks, 8, classes, generator=generator, dtype=torch.float64)


@pytest.mark.oracle("ssd_dive", has=["dive_p05_loss", "dive_nopow_loss"])
@pytest.mark.parametrize("form", ["dive_p05", "dive_nopow"])
def test_dive(oracle, form):
    """The file has the whole loss of DiVE and its part of balanced softmax."""
    hparams = {name: float(oracle[f"{form}_hp_{name}"]) for name in ("T", "alpha", "power")}
    alpha, temperature = hparams["alpha"], hparams["T"]
    logits = oracle["student_kd_head_logits"].requires_grad_()
    own = distillation(logits, oracle["teacher_logits"], temperature, hparams["power"])
    expected = (oracle[f"{form}_loss"] - (1 - alpha) * oracle[f"{form}_bsce"]) / alpha
    torch.testing.assert_close(temperature**2 * own, expected, **EXACT)


@pytest.mark.oracle("ssd_dive", has=["ssd_kd", "ssd_grad_kd_head"])
def test_ssd(oracle):
    temperature = float(oracle["ssd_hp_T"])
    logits = oracle["student_kd_head_logits"].requires_grad_()
    loss = temperature**2 * distillation(logits, oracle["teacher_logits"], temperature)
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(loss, oracle["ssd_kd"], **EXACT)
    torch.testing.assert_close(gradient, oracle["ssd_grad_kd_head"], **EXACT)


def test_a_power_is_that_of_the_teachers_probabilities():
    logits, teacher = drawn()
    flat = (teacher / 3).softmax(dim=1).sqrt()
    target = flat / flat.sum(dim=1, keepdim=True)
    expected = F.kl_div((logits / 3).log_softmax(dim=1), target, reduction="batchmean")
    torch.testing.assert_close(distillation(logits, teacher, 3.0, 0.5), expected)


def test_a_power_of_one_changes_no_bit_and_of_nought_teaches_all_classes_alike():
    logits, teacher = drawn()
    plain = distillation(logits, teacher, 3.0)
    assert distillation(logits, teacher, 3.0, 1.0).equal(plain)
    uniform = distillation(logits, torch.zeros_like(teacher), 3.0)
    torch.testing.assert_close(distillation(logits, teacher, 3.0, 0.0), uniform)
    assert uniform != plain


@pytest.mark.parametrize("epsilon", [0.0, 1e-9, 0.1])
def test_mutual_distillation_is_the_sum_over_pairs(epsilon):
    logits = drawn(networks=3)
    expected = sum(
        F.kl_div(
            (logits[i].softmax(1) + epsilon).log(), logits[j].softmax(1), reduction="batchmean"
        )
        for i in range(3)
        for j in range(3)
        if i != j
    )
    torch.testing.assert_close(mutual_distillation(logits, epsilon), expected)


@pytest.mark.parametrize("epsilon", [0.0, 1e-9])
def test_mutual_distillation_has_a_gradient_on_both_sides(epsilon):
    logits = drawn(networks=2).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: mutual_distillation(z, epsilon), logits)


def test_equal_networks_teach_each_other_nothing():
    logits = drawn(networks=1).expand(3, -1, -1).clone().requires_grad_()
    value = mutual_distillation(logits)
    (gradient,) = torch.autograd.grad(value, logits)
    torch.testing.assert_close(value.detach(), torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(gradient, torch.zeros_like(logits))
    assert mutual_distillation(drawn(networks=1)) == 0


def test_a_shift_of_a_networks_logits_changes_no_divergence():
    logits, shift = drawn(networks=3), torch.tensor([3.7, 0.0, -20.0]).view(3, 1, 1)
    torch.testing.assert_close(mutual_distillation(logits + shift), mutual_distillation(logits))


@pytest.mark.parametrize("epsilon", [0.0, 1e-9])
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_mutual_distillation_of_large_logits_is_finite(dtype, epsilon):
    logits = (1e4 * drawn(networks=3).sign()).to(dtype).requires_grad_()
    value = mutual_distillation(logits, epsilon)
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.dtype == dtype
    assert value.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("power", [1.0, 0.5])
def test_half_precision_of_distillation_loses_no_more_than_its_own_rounding(power):
    teacher = 5 * drawn(networks=1)[0]
    logits = (teacher + 0.1 * drawn(networks=2)[1]).bfloat16().requires_grad_()
    teacher = teacher.bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = distillation(logits, teacher, 2.0, power)
    exact = distillation(logits.double(), teacher.double(), 2.0, power)
    torch.testing.assert_close(value, exact.float())
    found, expected = (torch.autograd.grad(each, logits)[0] for each in (value, exact))
    torch.testing.assert_close(found, expected)


def test_half_precision_of_mutual_distillation_loses_no_more_than_its_own_rounding():
    logits = drawn().bfloat16()
    found = mutual_distillation(logits)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, mutual_distillation(logits.float()))


def test_arguments_that_mutual_distillation_cannot_take():
    with pytest.raises(ValueError, match="logits: expected shape"):
        mutual_distillation(drawn()[0])
    with pytest.raises(ValueError, match="epsilon: expected at least 0"):
        mutual_distillation(drawn(), -1.0)
