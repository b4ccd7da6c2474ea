"""The distribution-balanced method against the authors' numbers."""

import pytest
import torch

from ltbench.core.batch import Batch
from tests.losses.test_loss_oracles import EXACT
from tests.methods.test_method_oracles import build


@pytest.mark.oracle("distribution_balanced", variants=["coco_single"])
def test_distribution_balanced(oracle):
    hparams, counts = oracle.hparams, oracle["class_freq"]
    smooth, tolerance = hparams["map_param"], hparams["logit_reg"]
    values = {
        "alpha": smooth["alpha"],
        "beta": smooth["beta"],
        "mu": smooth["gamma"],
        "kappa": tolerance["init_bias"],
        "scale": tolerance["neg_scale"],
        "gamma": hparams["focal"]["gamma"],
    }
    labels = oracle["labels_single"].argmax(1)
    for reduction, factor in (("mean", 1), ("sum", len(counts))):
        method = build("distribution_balanced", {"counts": counts}, reduction=reduction, **values)
        logits = oracle["logits"].requires_grad_()
        loss = method.training_loss(Batch(logits, labels, labels))
        (gradient,) = torch.autograd.grad(loss, logits)
        torch.testing.assert_close(loss, factor * oracle["loss"], **EXACT)
        torch.testing.assert_close(gradient, factor * oracle["grad_logits"], **EXACT)
