"""Softmax within groups against the authors' numbers, and its limits."""

import pytest
import torch

from ltbench.losses import (
    counted_samples,
    cross_entropy,
    group_log_softmax,
    group_softmax,
    size_groups,
)
from tests.losses.test_loss_oracles import EXACT

GROUPS = torch.tensor([2, 2, 1, 1, 1, 0, 0])


@pytest.fixture
def batch():
    """Return outputs of 3 groups of 7 classes, labels, and random numbers."""
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(13, 10, dtype=torch.float64, generator=generator)
    labels = torch.arange(13) % 7
    return logits, labels, torch.rand(13, 3, generator=generator)


def arranged(oracle):
    """Return the group of each class, the outputs in our order, and labels.

    The background is a class here, the only one of their group 0, in which "others" are foreground.
    """
    inner, starts = oracle["label2binlabel"].long(), oracle["pred_slice"][:, 0].long()
    groups = torch.zeros(inner.shape[1], dtype=torch.int64)
    for number in range(1, len(starts)):
        groups[inner[number] > 0] = number
    classes = starts[groups] + inner[groups, torch.arange(len(groups))]
    foreground = starts[:1] + 1
    order = torch.cat([foreground, starts[1:], classes])
    return groups, order, oracle["labels_0_is_background"].long()


@pytest.mark.oracle("bags", has=["loss"])
def test_group_softmax(oracle):
    """The loss on their draws of "others", each group's part of it, and that without draws."""
    groups, order, labels = arranged(oracle)
    counted = oracle["sampled_weights"].bool().T  # [B, K]
    logits = oracle["logits"].requires_grad_()
    value = group_softmax(logits[:, order], labels, groups, counted)
    (gradient,) = torch.autograd.grad(value, logits)
    torch.testing.assert_close(value, oracle["loss"], **EXACT)
    torch.testing.assert_close(gradient, oracle["grad_logits"], **EXACT)
    numbers = torch.arange(counted.shape[1])
    for drawn, name in ((counted, "loss_per_bin"), (True, "loss_per_bin_no_others_sampling")):
        for number, expected in enumerate(oracle[name]):
            only = ((numbers == number) & drawn).expand_as(counted)
            part = group_softmax(logits[:, order], labels, groups, only)
            torch.testing.assert_close(part, expected, **EXACT)
    value = group_softmax(logits.detach()[:, order].float(), labels, groups, counted)
    torch.testing.assert_close(value.double(), oracle["loss"], rtol=1e-4, atol=1e-6)


@pytest.mark.oracle("bags", has=["merged_scores"])
def test_probabilities_within_groups(oracle):
    groups, order, _ = arranged(oracle)
    found = group_log_softmax(oracle["logits"][:, order], groups).exp()
    foreground, merged = found[:, :1], found[:, -len(groups) :]
    merged[:, 1:] *= foreground
    torch.testing.assert_close(merged, oracle["merged_scores"], **EXACT)


@pytest.mark.oracle("bags", has=["avg_factors"])
def test_as_many_samples_count_as_in_their_code(oracle):
    """All but group 0, of which they count everything."""
    groups, _, labels = arranged(oracle)
    expected = oracle["avg_factors"].long()
    numbers = torch.rand(len(labels), len(expected), generator=torch.Generator().manual_seed(0))
    counted = counted_samples(labels, groups, numbers, oracle.hparams["others_sample_ratio"])
    assert counted.sum(dim=0)[1:].equal(expected[1:])


@pytest.mark.oracle("bags", has=["counts"])
def test_groups_by_size(oracle):
    """Of all classes but the background, by the size of the smallest class of each group."""
    groups, counts = arranged(oracle)[0][1:], oracle["counts"]
    thresholds = [int(counts[groups == number].min()) for number in groups.unique()]
    assert size_groups(counts, thresholds).equal(groups - 1)


def test_groups_of_the_paper():
    counts = torch.tensor([1000, 999, 100, 99, 10, 9])
    assert size_groups(counts, (10, 100, 1000)).tolist() == [3, 2, 2, 1, 1, 0]
    assert size_groups(counts[:3], (10, 100, 1000)).tolist() == [1, 0, 0]
    assert size_groups(counts, ()).tolist() == [0] * 6


def test_one_group_is_softmax_with_an_output_that_is_never_right(batch):
    logits, labels, _ = batch
    value = group_softmax(logits[:, :8], labels, torch.zeros(7, dtype=torch.int64))
    torch.testing.assert_close(value, cross_entropy(logits[:, :8], labels + 1))


def test_a_shift_of_all_outputs_of_a_group_changes_nothing(batch):
    logits, labels, _ = batch
    shifts = torch.tensor([3.7, -1.2, 0.4])
    shifted = logits + torch.cat([shifts, shifts[GROUPS]])
    torch.testing.assert_close(
        group_softmax(shifted, labels, GROUPS), group_softmax(logits, labels, GROUPS)
    )


def test_a_group_without_samples_has_no_loss(batch):
    logits, _, numbers = batch
    labels = torch.tensor([0, 1, 5, 6, 0, 1, 5, 6, 0, 1, 5, 6, 0])
    counted = counted_samples(labels, GROUPS, numbers, ratio=8.0)
    assert counted.sum(dim=0).tolist() == [13, 0, 13]
    logits.requires_grad_()
    (gradient,) = torch.autograd.grad(group_softmax(logits, labels, GROUPS, counted), logits)
    outputs = torch.cat([torch.arange(3), GROUPS])
    assert (gradient[:, outputs == 1] == 0).all()
    assert (gradient[:, outputs != 1] != 0).all()


def test_the_samples_of_a_group_and_some_others_count(batch):
    _, labels, numbers = batch
    own = GROUPS[labels].unsqueeze(1) == torch.arange(3)
    sizes = own.sum(dim=0)
    assert (sizes > 0).all()
    for ratio in (0.0, 0.5, 1.0, 100.0):
        counted = counted_samples(labels, GROUPS, numbers, ratio)
        assert (counted | ~own).all()
        assert (counted.sum(dim=0) == (sizes + (ratio * sizes).long()).clamp(max=13)).all()
    drawn = counted_samples(labels, GROUPS, numbers, 0.5) & ~own
    least = numbers.masked_fill(own | drawn, 2).amin(dim=0)
    assert (numbers.masked_fill(~drawn, 0).amax(dim=0) < least).all()


def test_finite_at_large_logits(batch):
    logits, labels = (50 * batch[0].sign()).float().requires_grad_(), batch[1]
    value = group_softmax(logits, labels, GROUPS)
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_half_precision_logits_lose_no_more_than_their_own_rounding(batch):
    logits, labels = batch[0].bfloat16(), batch[1]
    with torch.autocast("cpu", torch.bfloat16):
        value = group_softmax(logits, labels, GROUPS)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, group_softmax(logits.float(), labels, GROUPS))
