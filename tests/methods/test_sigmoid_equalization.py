"""The sigmoid equalization method against the authors' numbers."""

import pytest
import torch

from ltbench.core.batch import Batch
from ltbench.core.rng import GlobalBatchRNG
from ltbench.core.seeding import make_generator
from ltbench.losses import binary, one_vs_all_targets
from tests.losses.test_loss_oracles import EXACT
from tests.methods.test_method_oracles import build


@pytest.mark.oracle("sigmoid_eql", has=["loss"])
def test_sigmoid_equalization(oracle):
    """Rows of background, where a variant has some, are left out: a mean over fewer rows."""
    counts = oracle["counts"]
    background = "background" in oracle.hparams.get("note", "")
    labels = oracle["labels_with_bg" if background else "labels"]
    known = labels < len(counts)
    threshold = oracle.hparams["lambda_"] * len(counts)
    method = build("sigmoid_equalization", oracle, gamma=1.0, threshold=threshold)
    method.rng = GlobalBatchRNG(make_generator(0, "method"))
    logits = oracle["logits"][known].requires_grad_()
    loss = method.training_loss(Batch(logits, labels[known], labels[known]))
    (gradient,) = torch.autograd.grad(loss * known.double().mean(), logits)
    torch.testing.assert_close(gradient, oracle["grad_logits"][known], **EXACT)
    if not background:
        torch.testing.assert_close(loss, oracle["loss"], **EXACT)


def test_without_gamma_it_is_binary_cross_entropy():
    method = build("sigmoid_equalization", {"counts": torch.tensor([40, 12, 5, 1])}, gamma=0.0)
    method.rng = GlobalBatchRNG(make_generator(0, "method"))
    logits, labels = torch.randn(8, 4).double(), torch.arange(8) % 4
    loss = method.training_loss(Batch(logits, labels, labels))
    assert loss.equal(binary(logits, one_vs_all_targets(labels, logits.shape)))
