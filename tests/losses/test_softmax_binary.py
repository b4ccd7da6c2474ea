"""Binary cross-entropy of softmax probabilities."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.losses import effective_number_weights, softmax_binary
from tests.losses.test_loss_oracles import EXACT, check

COUNTS = torch.tensor([100, 10, 1])
TOY = torch.tensor([[2.0, 1.0, 0.0]], dtype=torch.float64)


@pytest.fixture
def batch():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(13, 3, dtype=torch.float64, generator=generator)
    return logits, torch.randint(3, (13,), generator=generator)


def torchs(logits, labels, weights):
    """Return the loss as the authors write it."""
    p, targets = logits.softmax(dim=1), F.one_hot(labels, logits.shape[1]).to(logits.dtype)
    return F.binary_cross_entropy(p, targets, weights[labels][:, None].to(p.dtype))


@pytest.mark.oracle("weight_balancing", variants=["cb_bce_of_softmax"])
def test_authors_numbers(oracle):
    weights = effective_number_weights(oracle["counts"], oracle.hparams["beta"])
    torch.testing.assert_close(weights, oracle["weights"], **EXACT)
    check(oracle, lambda z, y: softmax_binary(z, y, weights))


@pytest.mark.oracle("class_balanced", variants=["port_softmax"])
def test_numbers_of_the_port(oracle):
    weights = effective_number_weights(oracle["counts"], oracle.hparams["beta"])
    check(oracle, lambda z, y: softmax_binary(z, y, weights))


@pytest.mark.oracle("weight_balancing", variants=["cb_bce_of_softmax"])
def test_the_exact_gradient_is_the_authors_but_for_labels_that_have_lost_by_far(oracle):
    """A label with probability 5e-44 gets almost no gradient by their code."""
    logits, labels = oracle["logits"].requires_grad_(), oracle["labels"]
    value = softmax_binary(logits, labels, oracle["weights"], floor=0.0)
    torch.testing.assert_close(value, oracle["loss"], **EXACT)
    (gradient,) = torch.autograd.grad(value, logits)
    p = logits.detach().softmax(dim=1)
    lost = (p * (1 - p) < 1e-12).gather(1, labels[:, None])[:, 0]
    assert bool(lost.any()) == oracle.id.startswith("large")
    torch.testing.assert_close(gradient[~lost], oracle["grad_logits"][~lost], **EXACT)
    own = gradient.gather(1, labels[:, None])[lost, 0]
    assert (own < oracle["grad_logits"].gather(1, labels[:, None])[lost, 0]).all()


@pytest.mark.parametrize(("label", "expected"), [(0, 0.00708506), (1, 0.23398574), (2, 3.40748277)])
def test_numbers_of_the_sheet(label, expected):
    weights = effective_number_weights(COUNTS)
    sheet = torch.tensor([0.02715872, 0.27036887, 2.70247240], dtype=torch.float64)
    torch.testing.assert_close(weights, sheet, rtol=0, atol=1e-8)
    value = softmax_binary(TOY, torch.tensor([label]), weights)
    assert float(value) == pytest.approx(expected, abs=1e-8)


@pytest.mark.parametrize("scale", [1.0, 10.0, 60.0, 300.0])
def test_value_and_gradient_are_torchs(scale, batch):
    logits, labels = (scale * batch[0]).requires_grad_(), batch[1]
    weights = effective_number_weights(COUNTS)
    value, expected = softmax_binary(logits, labels, weights), torchs(logits, labels, weights)
    if scale <= 10:  # else 1 - p is rounded by theirs
        torch.testing.assert_close(value, expected)
        ours, theirs = (torch.autograd.grad(loss, logits)[0] for loss in (value, expected))
        torch.testing.assert_close(ours, theirs)
    assert value.item() <= expected.item() * (1 + 1e-9)


def test_no_term_is_above_100():
    logits = torch.tensor([[1e4, 0.0]], dtype=torch.float64)
    value = softmax_binary(logits, torch.tensor([1]), torch.ones(2))
    assert float(value) == 100.0


def test_probabilities_near_one_are_exact_in_single_precision():
    """Theirs is 60, as 1 - p rounds to 0."""
    logits = torch.tensor([[20.0, 0.0]], requires_grad=True)
    value = softmax_binary(logits, torch.tensor([1]), torch.ones(2), floor=0.0)
    assert float(value.detach()) == pytest.approx(20.0)
    (gradient,) = torch.autograd.grad(value, logits)
    torch.testing.assert_close(gradient, torch.tensor([[1.0, -1.0]]))


@pytest.mark.parametrize("floor", [0.0, 1e-12])
def test_large_logits_have_finite_values_and_gradients(floor, batch):
    logits = (1e4 * batch[0].sign()).float().requires_grad_()
    value = softmax_binary(logits, batch[1], effective_number_weights(COUNTS), floor)
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_gradient(batch):
    logits, labels = batch
    weights = effective_number_weights(COUNTS)
    assert torch.autograd.gradcheck(
        lambda z: softmax_binary(z, labels, weights, floor=0.0), logits.requires_grad_()
    )


def test_a_constant_added_to_the_logits_changes_nothing(batch):
    logits, labels = batch
    weights = effective_number_weights(COUNTS)
    torch.testing.assert_close(
        softmax_binary(logits + 3, labels, weights), softmax_binary(logits, labels, weights)
    )


def test_refuses_a_single_class_and_a_negative_floor(batch):
    with pytest.raises(ValueError, match=r"^logits: "):
        softmax_binary(torch.zeros(2, 1), torch.zeros(2, dtype=torch.int64), torch.ones(1))
    with pytest.raises(ValueError, match=r"^floor: "):
        softmax_binary(*batch, torch.ones(3), floor=-1.0)
    with pytest.raises(ValueError, match=r"^weights: "):
        softmax_binary(*batch, torch.ones(4))
