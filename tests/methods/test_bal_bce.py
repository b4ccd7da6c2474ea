"""Bal-BCE: the authors' numbers, and plain logits in the test."""

import pytest
import torch

from ltbench.core.batch import Batch
from tests.methods.test_method_oracles import EXACT, build


@pytest.mark.oracle("livt", has=["bal_bce_loss"])
def test_loss(oracle):
    method = build("bal_bce", oracle, smoothing=oracle.hparams["smoothing"])
    logits, labels = oracle["logits"].requires_grad_(), oracle["labels"].long()
    loss = method.training_loss(Batch(logits, labels, labels))
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(loss, oracle["bal_bce_loss"], **EXACT)
    torch.testing.assert_close(gradient, oracle["bal_bce_grad"], **EXACT)


def test_labels_are_smoothed_as_in_the_authors_fine_tuning():
    assert build("bal_bce", {"counts": torch.tensor([9, 3])}).hparams.smoothing == 0.1


def test_predictions_are_the_plain_logits():
    method = build("bal_bce", {"counts": torch.tensor([9, 3])})
    logits = torch.tensor([[0.5, -1.0]])
    assert method.predict(logits).equal(logits)
