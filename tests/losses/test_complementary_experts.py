"""ACE's losses and fusion: worked examples, limits and gradients. There is no oracle."""

import pytest
import torch

from ltbench.losses import complementary_experts, cross_entropy, fused_logits

TOY = torch.tensor([[[2.0, 1.0, 0.0]], [[0.5, 1.5, 1.0]]]).double()
GROUPS = torch.tensor([[True, True, True], [False, True, True]])
LABELS = torch.tensor([0, 0, 1, 2, 1, 0])


def drawn(rows=6):
    generator = torch.Generator().manual_seed(3)
    return torch.randn(2, rows, 3, generator=generator, dtype=torch.float64)


def test_worked_example():
    losses = complementary_experts(TOY, torch.tensor([1]), GROUPS)
    assert float(losses["classes"]) == pytest.approx(1.40760596 + 0.68026967, abs=2e-8)
    assert float(losses["complementary"]) == pytest.approx(0.25)


def test_means_are_over_the_samples_of_an_experts_classes():
    logits = drawn()
    losses = complementary_experts(logits, LABELS, GROUPS)
    own = LABELS > 0
    expected = cross_entropy(logits[0], LABELS) + cross_entropy(logits[1][own], LABELS[own])
    torch.testing.assert_close(losses["classes"], expected)
    torch.testing.assert_close(losses["complementary"], logits[1][own, 0].square().mean())


def test_one_expert_is_cross_entropy():
    losses = complementary_experts(drawn()[:1], LABELS, GROUPS[:1])
    torch.testing.assert_close(losses["classes"], cross_entropy(drawn()[0], LABELS))
    assert losses["complementary"] == 0


def test_a_batch_of_large_classes_is_no_lesson_for_the_other_expert():
    logits = drawn().requires_grad_()
    losses = complementary_experts(logits, torch.zeros(6, dtype=torch.int64), GROUPS)
    (gradient,) = torch.autograd.grad(sum(losses.values()), logits)
    assert gradient[0].any()
    assert not gradient[1].any()


def test_gradients():
    logits = drawn().requires_grad_()
    assert torch.autograd.gradcheck(
        lambda z: sum(complementary_experts(z, LABELS, GROUPS).values()), logits
    )


def test_fusion_of_the_worked_example():
    norms = torch.tensor([[2.0, 1.0, 1.0], [0.1, 2.0, 2.0]])
    fused = fused_logits(TOY, norms, GROUPS)
    torch.testing.assert_close(fused, torch.tensor([[2.0, 1.0, 1 / 3]]).double())


def test_the_scale_of_an_expert_has_no_effect_where_norms_grow_with_it():
    norms = torch.rand(2, 3, generator=torch.Generator().manual_seed(1)).double() + 0.5
    scale = torch.tensor([1.0, 7.0]).double()
    fused = fused_logits(drawn(), norms, GROUPS)
    again = fused_logits(scale[:, None, None] * drawn(), scale[:, None] * norms, GROUPS)
    torch.testing.assert_close(again, fused)


def test_an_expert_without_classes_takes_no_part():
    groups = torch.tensor([[True] * 3, [False] * 3])
    torch.testing.assert_close(fused_logits(drawn(), torch.ones(2, 3), groups), drawn()[0])
    losses = complementary_experts(drawn(), LABELS, groups)
    torch.testing.assert_close(losses["classes"], cross_entropy(drawn()[0], LABELS))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_large_logits_are_finite(dtype):
    logits = (1e4 * drawn().sign()).to(dtype).requires_grad_()
    value = sum(complementary_experts(logits, LABELS, GROUPS).values())
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.dtype == dtype
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_half_precision_loses_no_more_than_its_own_rounding():
    logits = drawn().bfloat16()
    found = complementary_experts(logits, LABELS, GROUPS)
    expected = complementary_experts(logits.float(), LABELS, GROUPS)
    for name, value in found.items():
        assert value.dtype == torch.float32
        torch.testing.assert_close(value, expected[name])


def test_arguments_that_they_cannot_take():
    with pytest.raises(ValueError, match="logits: expected shape"):
        complementary_experts(drawn()[0], LABELS, GROUPS)
    with pytest.raises(ValueError, match="labels: expected shape"):
        complementary_experts(drawn(), LABELS[:2], GROUPS)
    with pytest.raises(ValueError, match="3 is not a class"):
        complementary_experts(drawn(), LABELS + 1, GROUPS)
    with pytest.raises(ValueError, match="groups: expected shape"):
        complementary_experts(drawn(), LABELS, GROUPS[:1])
    with pytest.raises(ValueError, match="norms: expected shape"):
        fused_logits(drawn(), torch.ones(3), GROUPS)
