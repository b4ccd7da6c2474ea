"""Weights of equalization loss v2 against the authors' numbers, and their limits."""

import math

import pytest
import torch

from ltbench.losses import binary, gradient_guided_weights, gradient_sums, one_vs_all_targets
from tests.losses.test_loss_oracles import EXACT


@pytest.mark.oracle("eql_v2", has=["loss"])
def test_consecutive_calls(oracle):
    """The last column, of "is it an object", is a detector's: its weights are 1."""
    steps, _, columns = oracle["logits"].shape
    sums, one = torch.zeros(2, columns - 1).double(), torch.ones(1).double()
    for step in range(steps):
        logits = oracle["logits"][step].requires_grad_()
        targets = one_vs_all_targets(oracle["labels"][step], logits.shape)
        by_class = gradient_guided_weights(sums, **oracle.hparams)
        positive, negative = (torch.cat([weights, one]) for weights in by_class)
        torch.testing.assert_close(positive, oracle["pos_w_before"][step], **EXACT)
        torch.testing.assert_close(negative, oracle["neg_w_before"][step], **EXACT)

        weights = torch.where(targets, positive, negative)
        loss = binary(logits, targets, weights)
        (gradient,) = torch.autograd.grad(loss, logits)
        torch.testing.assert_close(loss, oracle["loss"][step], **EXACT)
        torch.testing.assert_close(gradient, oracle["grad_logits"][step], **EXACT)

        sums += gradient_sums(logits, targets, weights)[:, :-1]
        torch.testing.assert_close(sums[0], oracle["pos_grad_after"][step], **EXACT)
        torch.testing.assert_close(sums[1], oracle["neg_grad_after"][step], **EXACT)
        torch.testing.assert_close(sums[0] / sums[1], oracle["pos_neg_after"][step], **EXACT)


def test_weights_are_one_without_gradients_and_with_many_positive_ones():
    positive, negative = gradient_guided_weights(torch.tensor([[0.0, 9e9], [0, 1]]))
    assert positive.tolist() == negative.tolist() == [1, 1]


def test_a_class_without_positive_gradients_is_spared_most():
    positive, negative = gradient_guided_weights(
        torch.tensor([[0.0, 0.8], [1, 1]]), gamma=12.0, mu=0.8, alpha=4.0
    )
    assert negative.tolist() == pytest.approx([1 / (1 + math.exp(9.6)), 0.5])
    assert positive.tolist() == pytest.approx([5 - 4 / (1 + math.exp(9.6)), 3])


def test_sums_are_of_the_absolute_gradients_of_the_loss():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(13, 7, generator=generator).double().requires_grad_()
    targets = one_vs_all_targets(torch.randint(7, (13,), generator=generator), (13, 7))
    weights = torch.rand(13, 7, generator=generator).double()
    (gradient,) = torch.autograd.grad(13 * binary(logits, targets, weights), logits)
    expected = torch.stack([(gradient.abs() * mask).sum(0) for mask in (targets, ~targets)])
    torch.testing.assert_close(gradient_sums(logits, targets, weights), expected)
    half = gradient_sums(logits.bfloat16(), targets, weights.float())
    assert half.dtype == torch.float64
    assert not half.requires_grad
