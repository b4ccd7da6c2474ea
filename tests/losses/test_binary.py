"""Binary cross-entropy of one-vs-all sigmoids, and the losses that stand on it."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.losses import binary, one_vs_all_targets


def test_targets_are_of_the_label_alone():
    targets = one_vs_all_targets(torch.tensor([2, 0]), (2, 3))
    assert targets.tolist() == [[False, False, True], [True, False, False]]


def test_binary_is_torchs_cross_entropy_summed_over_classes(batch):
    logits, targets = batch[0], batch[0].roll(1) > 0  # several classes of a sample
    for weights in (None, torch.rand(7).double(), torch.rand(13, 7).double()):
        expected = F.binary_cross_entropy_with_logits(logits, targets.double(), weights)
        torch.testing.assert_close(binary(logits, targets, weights), 7 * expected)
    samples = torch.rand(13).double()
    expected = F.binary_cross_entropy_with_logits(logits, targets.double(), samples[:, None])
    torch.testing.assert_close(binary(logits, targets, sample_weights=samples), 7 * expected)


@pytest.mark.parametrize("gamma", [0.5, 2.0])
def test_focusing_is_a_power_of_what_is_missed(gamma, batch):
    logits, targets = batch[0].requires_grad_(), one_vs_all_targets(batch[1], batch[0].shape)
    right = torch.where(targets, logits, -logits).sigmoid()
    expected = ((1 - right) ** gamma * -right.log()).sum(1).mean()
    value = binary(logits, targets, gamma=gamma)
    torch.testing.assert_close(value, expected)
    for ours, theirs in zip(
        torch.autograd.grad(value, logits), torch.autograd.grad(expected, logits), strict=True
    ):
        torch.testing.assert_close(ours, theirs)


def test_a_gradient_goes_through_weights_that_have_one(batch):
    logits, targets = batch[0].requires_grad_(), one_vs_all_targets(batch[1], batch[0].shape)
    right = torch.where(targets, logits, -logits).sigmoid()
    (through,) = torch.autograd.grad(binary(logits, targets, (1 - right) ** 2), logits)
    (focal,) = torch.autograd.grad(binary(logits, targets, gamma=2.0), logits)
    torch.testing.assert_close(through, focal)
