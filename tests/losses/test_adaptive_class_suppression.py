"""Adaptive class suppression against the authors' numbers, and its limits."""

import pytest
import torch

from ltbench.losses import adaptive_class_suppression, binary, one_vs_all_targets
from tests.losses.test_loss_oracles import check


@pytest.mark.oracle("acsl", variants=["fg_thr"])
def test_adaptive_class_suppression(oracle):
    """All but `bg`: rows of background, in which rare classes are drawn."""
    threshold = oracle.hparams["score_thr"]
    check(oracle, lambda z, y: adaptive_class_suppression(z, y, threshold))


def test_every_class_counts_at_threshold_zero(batch):
    logits, labels = batch
    expected = binary(logits, one_vs_all_targets(labels, logits.shape))
    assert adaptive_class_suppression(logits, labels, 0.0).equal(expected)


def test_only_labels_and_mistakes_have_a_gradient(batch):
    logits, labels = batch[0].requires_grad_(), batch[1]
    (gradient,) = torch.autograd.grad(adaptive_class_suppression(logits, labels, 0.6), logits)
    expected = (logits.sigmoid() >= 0.6) | one_vs_all_targets(labels, logits.shape)
    assert torch.equal(gradient != 0, expected)
    assert 0 < expected.sum() < expected.numel()


def test_a_probability_at_the_threshold_counts():
    logits, labels = torch.zeros(1, 2), torch.tensor([0])
    assert adaptive_class_suppression(logits, labels, 0.5) == 2 * torch.tensor(2.0).log()


def test_half_precision_logits_lose_no_more_than_their_own_rounding(batch):
    logits, labels = batch[0].bfloat16(), batch[1]
    with torch.autocast("cpu", torch.bfloat16):
        value = adaptive_class_suppression(logits, labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, adaptive_class_suppression(logits.float(), labels))
