"""Distillation against the numbers of DiVE, value and gradient, and in its limits."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.losses import distillation

EXACT = {"rtol": 1e-8, "atol": 1e-12}


def drawn(classes=5):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, 8, classes, generator=generator, dtype=torch.float64)


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
