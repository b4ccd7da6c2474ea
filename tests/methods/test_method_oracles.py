"""Whole methods against the authors' numbers, on given logits."""

import re

import pytest
import torch
from torch import nn

from ltbench.core.batch import Batch
from ltbench.methods import METHODS
from ltbench.methods.contract import Progress
from ltbench.networks import NetworkSpec

EXACT = {"rtol": 1e-6, "atol": 1e-9}


def build(key, oracle, **hparams):
    kind = METHODS[key]
    counts = oracle["counts"]
    method = kind(NetworkSpec("resnet8", classes=len(counts)), counts, kind.HParams(**hparams))
    method.network = nn.Identity()
    return method


def check(method, oracle):
    logits = oracle["logits"].requires_grad_()
    loss = method.training_loss(Batch(logits, oracle["labels"], oracle["labels"]))
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(loss, oracle["loss"], **EXACT)
    torch.testing.assert_close(gradient, oracle["grad_logits"], **EXACT)


@pytest.mark.oracle("weighted_ce", variants=["plain"])
def test_softmax(oracle):
    check(build("softmax", oracle), oracle)


@pytest.mark.oracle("balanced_softmax", has=["loss"])
def test_balanced_softmax(oracle):
    check(build("balanced_softmax", oracle), oracle)


@pytest.mark.oracle("logit_adjustment", has=["loss"])
def test_logit_adjustment(oracle):
    check(build("logit_adjustment", oracle, tau=oracle.hparams["tau"]), oracle)


@pytest.mark.oracle("logit_adjustment", has=["posthoc_pred"])
def test_posthoc_logit_adjustment(oracle):
    method = build("posthoc_logit_adjustment", oracle, tau=oracle.hparams["tau"])
    assert method.predict(oracle["logits"]).argmax(dim=1).equal(oracle["posthoc_pred"])


@pytest.mark.oracle("ldam", has=["loss"])
def test_ldam_drw(oracle):
    hparams, beta = oracle.hparams, {}
    if hparams["weight"] is not None:
        beta = {"beta": float(re.search(r"beta ([\d.]+)", hparams["weight"])[1])}
    method = build("ldam_drw", oracle, max_margin=hparams["max_m"], scale=hparams["s"], **beta)
    method.progress = Progress(160, 200, deferred=hparams["weight"] is not None)
    check(method, oracle)
