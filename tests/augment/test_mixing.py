import pytest
import torch
import torch.nn.functional as F

from ltbench.augment import mix

EXACT = {"rtol": 1e-8, "atol": 1e-10}


@pytest.mark.oracle("mix_family", has=["mixup_images"])
def test_mixup(oracle):
    share, order = oracle.hparams["lambda"], oracle["perm"].long()
    images, labels = oracle["images"], oracle["labels"].long()
    torch.testing.assert_close(mix(images, images[order], share), oracle["mixup_images"], **EXACT)
    logits = oracle["logits"].requires_grad_()
    own, partners = (F.cross_entropy(logits, y) for y in (labels, labels[order]))
    loss = mix(own, partners, share)
    (gradient,) = torch.autograd.grad(loss, logits)
    torch.testing.assert_close(loss, oracle["mixup_loss"], **EXACT)
    torch.testing.assert_close(gradient, oracle["mixup_grad_logits"], **EXACT)


def test_the_ends_are_the_values_and_their_partners():
    values, partners = torch.randn(2, 5, 3)
    assert mix(values, partners, 1.0).equal(values)
    assert mix(values, partners, 0.0).equal(partners)
