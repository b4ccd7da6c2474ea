"""Distribution-balanced loss against the authors' numbers, and its limits."""

import pytest
import torch

from ltbench.losses import (
    binary,
    class_bias,
    distribution_balanced,
    one_vs_all_targets,
    rebalanced_weights,
)
from tests.losses.test_loss_oracles import EXACT, check

COUNTS = torch.tensor([500, 200, 90, 41, 17, 6, 1])


def ours(oracle, logits, targets):
    """Return the mean over classes too, as the authors' code does."""
    hparams, counts = oracle.hparams, oracle["class_freq"]
    smooth, tolerance, focal = hparams["map_param"], hparams["logit_reg"], hparams["focal"]
    weights = rebalanced_weights(targets, counts, smooth["alpha"], smooth["beta"], smooth["gamma"])
    images = counts[0] + oracle["neg_class_freq"][0]
    scale = tolerance.get("neg_scale", 1.0)
    bias = class_bias(counts, images, tolerance.get("init_bias", 0.0), scale)
    gamma = focal["gamma"] if focal["focal"] else 0.0
    loss = distribution_balanced(logits, targets, bias, weights, scale, gamma)
    return loss / len(counts)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(13, 7, dtype=torch.float64, generator=generator)
    return logits, one_vs_all_targets(torch.randint(7, (13,), generator=generator), (13, 7))


@pytest.mark.oracle("distribution_balanced", has=["loss"])
def test_distribution_balanced(oracle):
    labels = "labels_single" if oracle.id.endswith("_single") else "labels_multi"
    targets = oracle[labels].bool()
    arrays = {name: oracle[name] for name in ("logits", "loss", "grad_logits")}
    check(arrays | {"labels": targets}, lambda z, t: ours(oracle, z, t))


@pytest.mark.oracle("distribution_balanced", has=["rebalance_weight_multi"])
def test_weights_and_bias(oracle):
    """The defaults are those of the file, which has the weights of its first rows."""
    expected, counts = oracle["rebalance_weight_multi"], oracle["class_freq"]
    weights = rebalanced_weights(oracle["labels_multi"].bool(), counts)
    torch.testing.assert_close(weights[: len(expected)], expected, **EXACT)
    bias = class_bias(counts, counts[0] + oracle["neg_class_freq"][0])
    torch.testing.assert_close(-bias, oracle["init_bias_0.05_over_2"], **EXACT)


def test_of_a_single_label_the_ratio_is_that_of_counts(batch):
    targets = batch[1]
    ratio = COUNTS[targets.int().argmax(1), None] / COUNTS
    expected = 0.3 + torch.sigmoid(5 * (ratio.double() - 0.4))
    torch.testing.assert_close(rebalanced_weights(targets, COUNTS, 0.3, 5.0, 0.4), expected)


def test_without_its_parts_it_is_binary_cross_entropy(batch):
    logits, targets = batch
    bias, weights = torch.zeros(7), torch.rand(13, 7).double()
    plain = distribution_balanced(logits, targets, bias, weights, 1.0, 0.0)
    assert plain.equal(binary(logits, targets, weights))


def test_negatives_are_tolerated(batch):
    """As many negatives as one likes cost little below the bias."""
    logits, targets = batch[0] - 3, torch.zeros(13, 7).bool()
    bias, weights = class_bias(COUNTS, COUNTS.sum(), 1.0, 5.0), torch.ones(13, 7)
    tolerant = distribution_balanced(logits, targets, bias, weights, 5.0, 0.0)
    assert 100 * tolerant < binary(logits - bias, targets)


def test_finite_at_large_logits_and_in_half_precision(batch):
    logits, targets = (50 * batch[0].sign()).bfloat16().requires_grad_(), batch[1]
    bias, weights = class_bias(COUNTS, COUNTS.sum()), rebalanced_weights(targets, COUNTS)
    with torch.autocast("cpu", torch.bfloat16):
        value = distribution_balanced(logits, targets, bias, weights)
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.dtype == torch.float32
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_a_class_without_images_is_named(batch):
    counts = torch.tensor([5, 1, 0, 1, 1, 1, 1])
    with pytest.raises(ValueError, match="without training images: 2"):
        rebalanced_weights(batch[1], counts)
    with pytest.raises(ValueError, match="without training images: 2"):
        class_bias(counts, counts.sum())
