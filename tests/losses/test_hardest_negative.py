"""SHIKE's hardest classes against a plain reading of its formula, and in their limits.

The oracle, of the whole loss, is in tests/methods/test_shike.py.
"""

import pytest
import torch

from ltbench.losses import hardest_negative

LABELS = torch.tensor([0, 1, 1, 2, 3, 3])


def drawn(experts=3):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(experts, 6, 4, generator=generator, dtype=torch.float64)


def read(logits, labels):
    """Return the loss, sample by sample."""
    total = 0.0
    for i, label in enumerate(labels.tolist()):
        others = [c for c in range(logits.shape[2]) if c != label]
        teacher = logits[:, i].max(dim=0).values
        teacher[label] = 0
        hardest = max(others, key=lambda c: float(logits[:, i, c].mean()))
        teacher[hardest] = logits[:, i, hardest].mean()
        p = teacher.softmax(dim=0)
        for own in logits[:, i].clone():
            own[label] = -30
            total += (p * (p.log() - own.log_softmax(dim=0))).sum()
    return total / len(labels)


def test_is_the_divergence_from_the_teacher_of_other_classes():
    torch.testing.assert_close(hardest_negative(drawn(), LABELS), read(drawn(), LABELS))


def test_gradient_goes_through_both_sides():
    logits = drawn().requires_grad_()
    assert torch.autograd.gradcheck(lambda z: hardest_negative(z, LABELS), logits)
    value = hardest_negative(logits, LABELS)
    (gradient,) = torch.autograd.grad(value, logits)
    rows = torch.arange(6)
    assert not gradient[:, rows, LABELS].any()  # the label has constant logits


def test_of_equal_experts_the_first_has_the_gradient_of_the_teacher():
    logits = drawn(1).expand(2, -1, -1).clone().requires_grad_()
    (gradient,) = torch.autograd.grad(hardest_negative(logits, LABELS), logits)
    assert not gradient[0].equal(gradient[1])


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_logits_are_finite(dtype):
    logits = (1e4 * drawn().sign()).to(dtype).requires_grad_()
    value = hardest_negative(logits, LABELS)
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.dtype == dtype
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_half_precision_loses_no_more_than_its_own_rounding():
    logits = drawn().bfloat16()
    found = hardest_negative(logits, LABELS)
    assert found.dtype == torch.float32
    torch.testing.assert_close(found, hardest_negative(logits.float(), LABELS))


def test_arguments_that_it_cannot_take():
    with pytest.raises(ValueError, match="logits: expected shape"):
        hardest_negative(drawn()[0], LABELS)
    with pytest.raises(ValueError, match="labels: expected shape"):
        hardest_negative(drawn(), LABELS[:3])
    with pytest.raises(ValueError, match="4 is not a class"):
        hardest_negative(drawn(), LABELS + 1)
