"""NCL's losses against the authors' numbers, value and gradient, and in their limits.

The networks' logits are multiples of 1/64, and two rows have equal ones on the border of the hard
classes: the tests of the loss take the stored mask. `plus_loss` is NCL++, which is left out.
"""

import pytest
import torch
import torch.nn.functional as F

from ltbench.losses import (
    adjusted_logits,
    collaborative_loss,
    cross_entropy,
    hard_classes,
)

EXACT = {"rtol": 1e-8, "atol": 1e-12}
LABELS = torch.tensor([0, 1, 1, 2, 3, 3])


def drawn(networks=3, rows=6, classes=4):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(networks, rows, classes, generator=generator, dtype=torch.float64)


@pytest.mark.oracle("ncl")
def test_parts(oracle):
    hparams = oracle.hparams
    logits = adjusted_logits(oracle["expert_logits"], oracle["counts"])
    labels, hard = oracle["labels"].long(), oracle["hcm_mask"]
    every = collaborative_loss(logits, labels, hparams["diversity"])
    nested = collaborative_loss(logits, labels, hparams["diversity_hcm"], hard)
    for value, name in (
        (every["classes"], "loss_ce"),
        (nested["classes"], "loss_hcm"),
        (every["distillation"], "loss_nbod_full"),
        (nested["distillation"], "loss_nbod_hcm"),
    ):
        torch.testing.assert_close(value, oracle[name], **EXACT)


@pytest.mark.oracle("ncl")
def test_hard_classes(oracle):
    logits, labels = oracle["expert_logits"][0], oracle["labels"].long()
    mask = hard_classes(logits, labels, oracle.hparams["hcm_n"])
    assert mask.sum(dim=1).equal(oracle["hcm_mask"].sum(dim=1))
    own = F.one_hot(labels, logits.shape[1]).bool()
    others = torch.where(own, -torch.inf, logits).sort(dim=1, descending=True).values
    count = oracle.hparams["hcm_n"] - 1
    single = others[:, count - 1] != others[:, count]  # no tie on the border
    assert mask[single].equal(oracle["hcm_mask"][single])
    assert single.sum() >= len(single) - 2


def test_hard_classes_hold_the_label_and_the_largest_others():
    logits = torch.tensor([[3.0, 2.0, 1.0, 0.0], [3.0, 2.0, 1.0, 0.0]])
    mask = hard_classes(logits, torch.tensor([3, 0]), 2)
    assert mask.tolist() == [[True, False, False, True], [True, True, False, False]]
    assert hard_classes(logits, torch.tensor([3, 0]), 4).all()
    assert hard_classes(logits, torch.tensor([3, 0]), 1).long().argmax(dim=1).tolist() == [3, 0]


def test_classes_that_are_not_kept_count_with_a_logit_of_nought():
    logits = drawn()
    kept = hard_classes(logits[0], LABELS, 2)
    values = collaborative_loss(logits, LABELS, 0.6, kept)
    same = collaborative_loss(logits * kept, LABELS, 0.6)
    assert values["classes"].equal(same["classes"])
    assert values["distillation"].equal(same["distillation"])
    everything = torch.ones_like(kept)
    plain = collaborative_loss(logits, LABELS, 0.6)
    assert collaborative_loss(logits, LABELS, 0.6, everything)["classes"].equal(plain["classes"])
    torch.testing.assert_close(plain["classes"], sum(cross_entropy(z, LABELS) for z in logits))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_logits_are_finite(dtype):
    logits = (1e4 * drawn().sign()).to(dtype).requires_grad_()
    parts = collaborative_loss(logits, LABELS, 0.6, hard_classes(logits[0], LABELS, 2))
    value = sum(parts.values())
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.dtype == dtype
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_arguments_that_they_cannot_take():
    logits = drawn()
    kept = torch.ones(6, 4, dtype=torch.bool)
    with pytest.raises(ValueError, match="networks: expected at least 2"):
        collaborative_loss(logits[:1], LABELS, 0.6)
    with pytest.raises(ValueError, match="kept: expected shape"):
        collaborative_loss(logits, LABELS, 0.6, kept[:3])
    with pytest.raises(ValueError, match="7 is not a class"):
        collaborative_loss(logits, torch.full((6,), 7), 0.6)
    with pytest.raises(ValueError, match="number: expected 1 to 4"):
        hard_classes(logits[0], LABELS, 5)
    with pytest.raises(ValueError, match="counts: expected shape"):
        adjusted_logits(logits, torch.tensor([1, 2]))
    with pytest.raises(ValueError, match="without training images"):
        adjusted_logits(logits, torch.tensor([1, 2, 0, 1]))
