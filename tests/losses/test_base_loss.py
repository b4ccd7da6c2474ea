"""Losses inside other methods are those of the methods of their names."""

import pytest
import torch

from ltbench.classifiers import classifier_for
from ltbench.losses import base_loss, cross_entropy
from ltbench.losses.ldam import SCALE

EXACT = {"rtol": 1e-6, "atol": 1e-9}


def check(oracle, name, factor=1.0, **when):
    inputs = oracle["logits"].requires_grad_()
    value = base_loss(name, factor * inputs, oracle["labels"], oracle["counts"], **when)
    (gradient,) = torch.autograd.grad(value, inputs)
    torch.testing.assert_close(value, oracle["loss"], **EXACT)
    torch.testing.assert_close(gradient, oracle["grad_logits"], **EXACT)


@pytest.mark.oracle("ldam", has=["loss"])
def test_ldam_of_scaled_cosines(oracle):
    check(oracle, "ldam", SCALE, deferred=oracle.hparams["weight"] is not None)


@pytest.mark.oracle("weighted_ce", variants=["effnum"])
def test_deferred_weights(oracle):
    check(oracle, "drw", deferred=True)


@pytest.mark.oracle("balanced_softmax", has=["loss"])
@pytest.mark.parametrize("deferred", [False, True])
def test_balanced_softmax(oracle, deferred):
    check(oracle, "balanced_softmax", deferred=deferred)


def test_weights_are_deferred():
    logits, labels = torch.randn(6, 3).double(), torch.tensor([0, 0, 0, 1, 1, 2])
    counts = torch.tensor([90, 9, 1])
    plain = cross_entropy(logits, labels)
    for name, deferred in (("softmax", False), ("softmax", True), ("drw", False)):
        assert base_loss(name, logits, labels, counts, deferred=deferred).equal(plain)
    assert base_loss("drw", logits, labels, counts, deferred=True) != plain


@pytest.mark.parametrize("name", ["softmax", "drw", "balanced_softmax"])
def test_equal_counts_are_cross_entropy(name):
    logits, labels = torch.randn(6, 3), torch.tensor([0, 0, 0, 1, 1, 2])
    counts = torch.tensor([7, 7, 7])
    found = base_loss(name, logits, labels, counts, deferred=True)
    assert found.equal(cross_entropy(logits, labels))


def test_ldam_has_a_classifier_of_scaled_cosines():
    features = torch.randn(5, 4)
    cosines = classifier_for("ldam", 4, 3)(features) / SCALE
    assert cosines.abs().max() <= 1 + 1e-6
    for name in ("softmax", "drw", "balanced_softmax"):
        assert classifier_for(name, 4, 3).bias.shape == (3,)
