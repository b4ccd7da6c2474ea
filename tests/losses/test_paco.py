import pytest
import torch
import torch.nn.functional as F

from ltbench.losses import balanced_softmax, paco

EXACT = {"rtol": 1e-8, "atol": 1e-10}


@pytest.mark.oracle("paco", has=["loss"])
def test_the_authors_numbers(oracle):
    h, raw = oracle.hparams, oracle["features_raw_query_key_queue"]
    logits, labels = oracle["sup_logits"].requires_grad_(), oracle["labels_query_key_queue"].long()
    size = len(logits)
    query = raw[:size].clone().requires_grad_()
    queries = F.normalize(query)
    contrast = torch.cat([queries, F.normalize(raw[size:])])
    assert h["supt"] == 1
    loss = paco(
        logits,
        labels[:size],
        queries @ contrast.T / h["temperature"],
        labels,
        torch.arange(size),
        oracle["counts"],
        alpha=h["alpha"],
        beta=h["beta"],
        gamma=h["gamma"],
    )
    gradients = torch.autograd.grad(loss, [query, logits])
    torch.testing.assert_close(loss, oracle["loss"], **EXACT)
    for gradient, name in zip(gradients, ("grad_raw_query", "grad_sup_logits"), strict=True):
        rtol = 1e-5 if oracle.own[name].dtype == "float32" else 1e-8
        torch.testing.assert_close(gradient, oracle[name], rtol=rtol, atol=1e-9)


def test_without_samples_it_is_balanced_softmax():
    logits, labels = torch.randn(6, 4).double(), torch.arange(6) % 4
    counts, itself = torch.tensor([40, 12, 5, 1]), torch.arange(6)
    similarities = torch.randn(6, 9).double()
    loss = paco(
        logits, labels, similarities, torch.zeros(9).long(), itself, counts, alpha=0.0, gamma=0.0
    )
    torch.testing.assert_close(loss, balanced_softmax(logits, labels, counts), rtol=1e-6, atol=0)
