"""Distillation and the schedules of learning from experts, against the authors' numbers."""

import pytest
import torch

from ltbench.losses import curriculum_weights, distillation, ease_within_classes, expert_weight

EXACT = {"rtol": 1e-9, "atol": 1e-12}
GROUPS = ("low", "median", "many")
SIZES = {"low": 12, "median": 53, "many": 230}  # the code's own means of images a class


@pytest.mark.oracle("lfme", level="case")
@pytest.mark.parametrize("group", GROUPS)
def test_distillation(oracle, group):
    student = oracle["batch_instance_weight"][:, None] * oracle["student_logits"]
    logits = student[:, oracle[f"classes_{group}_shot"]]
    taught, temperature = oracle[f"expert_logits_{group}_shot"], oracle.hparams["T"]
    value = distillation(logits, taught, temperature)
    torch.testing.assert_close(value, oracle[f"kd_raw_{group}_shot"], **EXACT)
    single = distillation(logits.float(), taught.float(), temperature)
    torch.testing.assert_close(single.double(), value, rtol=1e-5, atol=0)


@pytest.mark.oracle("lfme", level="case")
def test_ease_within_classes(oracle):
    confidence, labels = oracle["curric_confidence"], oracle["curric_labels"].long()
    least = torch.empty(len(oracle["counts"]), dtype=torch.float64)
    for group in GROUPS:
        least[oracle[f"classes_{group}_shot"]] = SIZES["low"] / SIZES[group]
    ease = ease_within_classes(confidence, labels, least)
    torch.testing.assert_close(ease, oracle["curric_scaled_init_weight"], **EXACT)


@pytest.mark.oracle("lfme", level="case")
def test_curriculum_weights_of_every_epoch(oracle):
    ease, curve = oracle["instance_w0_grid"], oracle["instance_weight_curve_epochs1toE"]
    for epoch, expected in enumerate(curve, start=1):
        weights = curriculum_weights(ease, epoch / len(curve))
        torch.testing.assert_close(weights, expected, **EXACT)


@pytest.mark.oracle("lfme", level="case")
def test_expert_weights_of_every_accuracy(oracle):
    decay_from, experts = oracle.hparams["decay_thresh"], oracle["expert_val_acc_low_median_many"]
    for student, row in zip(
        oracle["acc_grid"].tolist(), oracle["distill_weight_curve_low_median_many"], strict=True
    ):
        ours = [expert_weight(student, expert, decay_from) for expert in experts.tolist()]
        assert ours == pytest.approx(row.tolist(), rel=1e-9, abs=1e-12)


def test_images_that_are_equally_hard_are_easy():
    confidence = torch.tensor([0.2, 0.2, 0.9, 0.4, 0.6])
    labels, least = torch.tensor([0, 0, 1, 2, 2]), torch.tensor([0.1, 0.5, 0.25, 1.0])
    ease = ease_within_classes(confidence, labels, least)
    torch.testing.assert_close(ease, torch.tensor([1.0, 1.0, 1.0, 0.25, 1.0]))


def test_an_expert_that_knows_nothing_counts_nothing():
    assert expert_weight(0.0, 0.0, 0.3) == 0.0
    assert expert_weight(0.5, 0.0, 0.3) == 0.0
    assert expert_weight(0.0, 0.5, 0.3) == 1.0
    assert expert_weight(0.9, 0.5, 0.3) == 0.0


def test_equal_predictions_have_nothing_to_distil():
    logits = (50 * torch.randn(6, 4, dtype=torch.float64)).requires_grad_()
    value = distillation(logits, logits.detach() + 3.0, temperature=2.0)
    (gradient,) = torch.autograd.grad(value, logits)
    torch.testing.assert_close(value, torch.zeros_like(value), rtol=0, atol=1e-12)
    torch.testing.assert_close(gradient, torch.zeros_like(gradient), rtol=0, atol=1e-12)
