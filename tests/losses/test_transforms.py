"""Losses where the values of labels and counts cannot be read."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.losses import balanced_softmax, cross_entropy, focal, inverse_softmax, ldam
from ltbench.losses.cross_entropy import NO_CLASS

COUNTS = torch.tensor([40, 20, 5])
LOSSES = {
    "balanced_softmax": lambda z, y: balanced_softmax(z, y, COUNTS),
    "cross_entropy": cross_entropy,
    "focal": focal,
    "inverse_softmax": lambda z, y: inverse_softmax(z, y, COUNTS),
    "ldam": lambda z, y: ldam(z, y, COUNTS),
}


@pytest.mark.parametrize("name", LOSSES)
def test_gradients_per_sample_have_the_mean_gradient(name):
    loss = LOSSES[name]
    logits, labels = torch.eye(3, dtype=torch.float64), torch.tensor([0, 2, 1])
    each = torch.func.vmap(torch.func.grad(lambda z, y: loss(z[None], y[None])))
    mean = torch.func.grad(loss)(logits, labels)
    torch.testing.assert_close(each(logits, labels) / 3, mean)


@pytest.mark.parametrize("name", LOSSES)
def test_losses_compile_as_one_graph(name):
    logits, labels = torch.eye(3), torch.tensor([0, 2, 1])
    compiled = torch.compile(LOSSES[name], backend="eager", fullgraph=True)
    assert compiled(logits, labels).equal(LOSSES[name](logits, labels))


def test_the_kernel_ignores_no_label():
    with pytest.raises(IndexError):
        F.cross_entropy(torch.eye(3), torch.tensor([0, -100, 1]), ignore_index=NO_CLASS)
