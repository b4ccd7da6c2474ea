"""Influence-balanced loss."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.losses import influence_balanced, inverse_weights, scaled_to_classes
from tests.losses.test_loss_oracles import EXACT, check

COUNTS = torch.tensor([500, 200, 90, 41, 17, 6, 1])
WEIGHTS = scaled_to_classes(inverse_weights(COUNTS))


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits, features = torch.randn(2, 13, 7, dtype=torch.float64, generator=generator)
    return logits, torch.randint(7, (13,), generator=generator), features


@pytest.mark.oracle("ib_loss", has=["loss"])
def test_influence_balanced(oracle):
    """All cases; the feature of an image is its L1 norm, as the file has no more of it."""
    weights, hparams = scaled_to_classes(inverse_weights(oracle["counts"])), oracle.hparams
    torch.testing.assert_close(weights, oracle["ib_weights"], **EXACT)
    alpha, gamma, epsilon = hparams["alpha"], hparams.get("gamma", 0.0), hparams["eps"]

    def loss(logits, labels, features=oracle["feat_l1"]):
        return influence_balanced(
            logits, labels, features.to(logits.dtype), weights, alpha, gamma, epsilon
        )

    check(oracle, loss)
    features = oracle["feat_l1"].requires_grad_()
    value = loss(oracle["logits"], oracle["labels"], features)
    (gradient,) = torch.autograd.grad(value, features)
    torch.testing.assert_close(gradient, oracle["grad_features"], **EXACT)


def test_the_influence_is_the_norm_of_the_classifiers_gradient(batch):
    _, labels, features = batch
    weight = torch.randn(7, 7, dtype=torch.float64, requires_grad=True)
    wanted = []
    for row, label in zip(features, labels, strict=True):
        loss = F.cross_entropy(row @ weight.T, label)
        (gradient,) = torch.autograd.grad(loss, weight)
        wanted.append(3 * WEIGHTS[label] * loss.detach() / (gradient.abs().sum() + 1e-3))
    value = influence_balanced(features @ weight.T, labels, features, WEIGHTS, alpha=3.0)
    torch.testing.assert_close(value.detach(), torch.stack(wanted).mean())


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.0])
def test_finite_for_samples_without_loss_and_without_features(gamma, batch):
    logits, labels, features = (50 * batch[0].sign()).float(), batch[1], batch[2].float()
    logits[0], logits[0, labels[0]] = -100, 100  # a loss of exactly 0 in single precision
    features[:2] = 0
    logits, features = logits.requires_grad_(), features.requires_grad_()
    value = influence_balanced(logits, labels, features, WEIGHTS, gamma=gamma)
    assert value.isfinite()
    for gradient in torch.autograd.grad(value, (logits, features)):
        assert gradient.isfinite().all()


def test_half_precision_loses_no_more_than_its_own_rounding(batch):
    logits, labels, features = batch[0].bfloat16(), batch[1], batch[2].bfloat16()
    with torch.autocast("cpu", torch.bfloat16):
        value = influence_balanced(logits, labels, features, WEIGHTS)
    expected = influence_balanced(logits.float(), labels, features.float(), WEIGHTS)
    torch.testing.assert_close(value, expected, rtol=1e-5, atol=0)
