"""Sigmoid equalization loss against the authors' numbers, and its limits."""

import pytest
import torch

from ltbench.losses import binary, one_vs_all_targets, sigmoid_equalization
from tests.losses.test_loss_oracles import check

COUNTS = torch.tensor([500, 200, 90, 41, 17, 6, 1])
DRAWS = torch.full((13, 7), 0.5)


@pytest.mark.oracle("sigmoid_eql", has=["loss"])
def test_sigmoid_equalization(oracle):
    """Rows of background, which have no class, are plain binary cross-entropy."""
    counts, share = oracle["counts"], oracle.hparams["lambda_"]
    background = "background" in oracle.hparams.get("note", "")
    labels = oracle["labels_with_bg" if background else "labels"]
    known = labels < len(counts)
    assert background != bool(known.all())

    def loss(logits, labels):
        known_logits = logits[known]
        draws = torch.zeros(known_logits.shape)
        value = sigmoid_equalization(known_logits, labels[known], counts, draws, 1.0, share)
        value = value * known.sum()
        if background:
            none = torch.zeros(logits[~known].shape, dtype=torch.bool)
            value = value + binary(logits[~known], none) * (~known).sum()
        return value / len(labels)

    arrays = {name: oracle[name] for name in ("logits", "loss", "grad_logits")}
    check(arrays | {"labels": labels}, loss)


def test_tail_classes_of_other_samples_alone_are_spared(batch):
    logits, labels = batch[0].requires_grad_(), batch[1]
    share = float(COUNTS[4] / COUNTS.sum().double())  # a share of exactly lambda is no tail
    loss = sigmoid_equalization(logits, labels, COUNTS, DRAWS, 0.6, share)
    (gradient,) = torch.autograd.grad(loss, logits)
    spared = (torch.arange(7) > 4) & (labels.unsqueeze(1) != torch.arange(7))
    assert torch.equal(gradient == 0, spared)
    never = sigmoid_equalization(logits, labels, COUNTS, DRAWS, 0.4, share)
    assert never.equal(binary(logits, one_vs_all_targets(labels, logits.shape)))


def test_without_tail_it_is_binary_cross_entropy(batch):
    logits, labels = batch
    expected = binary(logits, one_vs_all_targets(labels, logits.shape))
    assert sigmoid_equalization(logits, labels, COUNTS, DRAWS, threshold=0.0).equal(expected)
    equal = torch.full((7,), 41)
    assert sigmoid_equalization(logits, labels, equal, DRAWS, threshold=0.99 / 7).equal(expected)


def test_finite_at_large_logits_and_in_half_precision(batch):
    logits, labels = (50 * batch[0].sign()).bfloat16().requires_grad_(), batch[1]
    with torch.autocast("cpu", torch.bfloat16):
        value = sigmoid_equalization(logits, labels, COUNTS, DRAWS, threshold=0.1)
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_a_class_without_images_is_named(batch):
    with pytest.raises(ValueError, match="without training images: 2"):
        sigmoid_equalization(*batch, torch.tensor([5, 1, 0, 1, 1, 1, 1]), DRAWS)
