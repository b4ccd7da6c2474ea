"""LTML's compensated binary loss: worked examples, moments and limits. There is no oracle."""

import pytest
import torch

from ltbench.losses import balancing_weights, binary, compensated_logits, logit_moments

LOGITS = torch.tensor([[1.0, -0.5, -1.0]]).double()
TARGETS = torch.tensor([[True, False, False]])
ONE, NOUGHT = torch.ones(2, 3).double(), torch.zeros(2, 3).double()


def drawn(rows=7):
    generator = torch.Generator().manual_seed(3)
    logits = torch.randn(rows, 3, generator=generator, dtype=torch.float64)
    targets = torch.rand(rows, 3, generator=generator) < 0.5
    return logits, targets


def test_worked_examples():
    assert float(binary(LOGITS, TARGETS) / 3) == pytest.approx(0.36686679, abs=5e-9)
    weights = balancing_weights(TARGETS, torch.tensor([7, 2, 1]))
    expected = [1.34985881, 1.22140276, 1.10517092]
    assert weights[0].tolist() == pytest.approx(expected, abs=5e-9)
    assert float(binary(LOGITS, TARGETS, weights) / 3) == pytest.approx(0.44936856, abs=5e-9)
    scale = torch.stack([torch.tensor([0.5, 1.0, 2.0]).double(), ONE[1]])
    offset = torch.stack([torch.tensor([0.1, 0.0, -0.1]).double(), NOUGHT[1]])
    logits = compensated_logits(LOGITS, TARGETS, scale, offset)
    assert logits.tolist() == [pytest.approx([1.0, -0.5, -2.1])]
    assert float(binary(logits, TARGETS) / 3) == pytest.approx(0.30095273, abs=5e-9)


def test_negatives_have_the_first_row_and_positives_the_second():
    logits, targets = drawn()
    scale = torch.tensor([[1.0, 2.0, 3.0], [4.0, 5.0, 6.0]]).double()
    offset = torch.tensor([[0.1, 0.2, 0.3], [0.4, 0.5, 0.6]]).double()
    found = compensated_logits(logits, targets, scale, offset)
    for i in range(len(logits)):
        for c in range(3):
            sign = int(targets[i, c])
            expected = logits[i, c] * scale[sign, c] + offset[sign, c]
            torch.testing.assert_close(found[i, c], expected)


def test_scale_one_and_offset_nought_change_nothing():
    logits, targets = drawn()
    assert compensated_logits(logits, targets, ONE, NOUGHT).equal(logits)


def test_the_gradient():
    logits, targets = drawn()
    scale, offset = torch.rand(2, 3).double() + 0.5, torch.randn(2, 3).double()
    assert torch.autograd.gradcheck(
        lambda z: binary(compensated_logits(z, targets, scale, offset), targets),
        logits.requires_grad_(),
    )


def test_moments_by_class_and_sign():
    logits, targets = drawn()
    number, mean, deviation = logit_moments(logits, targets)
    for sign in (0, 1):
        for c in range(3):
            own = logits[targets[:, c] == bool(sign), c]
            assert number[sign, c] == len(own)
            torch.testing.assert_close(mean[sign, c], own.mean())
            torch.testing.assert_close(deviation[sign, c], own.std(correction=0))


def test_moments_of_no_logits_are_nought():
    number, mean, deviation = logit_moments(LOGITS, TARGETS)
    assert number[1].tolist() == [1, 0, 0]
    assert mean[1].tolist() == [1, 0, 0]
    assert not deviation.any()


def test_equal_counts_weigh_positives_alike():
    weights = balancing_weights(TARGETS, torch.full((3,), 5))
    torch.testing.assert_close(weights[0, 1], weights[0, 2])
    assert weights[0, 0] > weights[0, 1]


def test_large_logits_are_finite():
    logits, targets = drawn()
    logits = (1e4 * logits.sign()).float().requires_grad_()
    value = binary(compensated_logits(logits, targets, 2 * ONE, ONE), targets)
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.isfinite()
    assert gradient.isfinite().all()
    assert all(part.isfinite().all() for part in logit_moments(logits, targets))


def test_half_precision_is_raised():
    logits, targets = drawn()
    found = compensated_logits(logits.bfloat16(), targets, ONE, NOUGHT)
    assert found.dtype == torch.float32
    assert logit_moments(logits.bfloat16(), targets)[1].dtype == torch.float64


def test_arguments_that_they_cannot_take():
    with pytest.raises(ValueError, match="targets: expected shape"):
        compensated_logits(LOGITS, TARGETS[:, :2], ONE, NOUGHT)
    with pytest.raises(ValueError, match="scale: expected shape"):
        compensated_logits(LOGITS, TARGETS, ONE[0], NOUGHT)
    with pytest.raises(ValueError, match="offset: expected shape"):
        compensated_logits(LOGITS, TARGETS, ONE, NOUGHT[:, :2])
    with pytest.raises(ValueError, match="targets: expected shape"):
        logit_moments(LOGITS, TARGETS[:, :2])
    with pytest.raises(ValueError, match="without training images: 1"):
        balancing_weights(TARGETS, torch.tensor([3, 0, 2]))
