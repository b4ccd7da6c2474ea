"""Contrast with images and with prototypes: the sheet's numbers, an oracle, limits."""

import math

import pytest
import torch
import torch.nn.functional as F

from ltbench.losses import prototype_contrast, supervised_contrast

EXACT = {"rtol": 1e-8, "atol": 1e-12}
LABELS = torch.tensor([0, 2, 1, 0, 3])


def drawn(*shape, seed=0):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(*shape, dtype=torch.float64, generator=generator)


@pytest.mark.oracle("hybrid_sc", has=["loss_supcon"])
def test_supervised_contrast(oracle):
    """The file is of a reproduction; gradients are stored in single precision if large."""
    views = [oracle[f"view{n}_raw"].requires_grad_() for n in (1, 2)]
    labels = oracle["labels"].long()
    value = supervised_contrast(torch.stack(views), labels, oracle.hparams["temperature"])
    torch.testing.assert_close(value, oracle["loss_supcon"], **EXACT)
    for n, gradient in enumerate(torch.autograd.grad(value, views), 1):
        expected = oracle[f"grad_view{n}_raw"]
        rtol = 1e-5 if expected.numel() > 1500 else 1e-8
        atol = rtol * float(expected.abs().max())
        torch.testing.assert_close(gradient, expected, rtol=rtol, atol=atol)


@pytest.mark.parametrize(("temperature", "expected"), [(0.1, -4.99328465), (1.0, -0.02592302)])
def test_contrast_with_three_prototypes(temperature, expected):
    cosines = torch.tensor([0.8, 0.3, -0.2], dtype=torch.float64)
    prototypes = torch.stack([cosines, (1 - cosines.square()).sqrt()], dim=1)
    embedding = torch.tensor([[2.0, 0.0]], dtype=torch.float64)
    found = prototype_contrast(embedding, 3 * prototypes, LABELS[:1], temperature)
    assert float(found) == pytest.approx(expected, abs=5e-9)


def test_contrast_with_prototypes_leaves_out_the_own_class():
    embeddings, prototypes = drawn(5, 6), drawn(4, 6, seed=1)
    scores = F.normalize(embeddings) @ F.normalize(prototypes).T / 0.3
    own = scores.gather(1, LABELS[:, None])[:, 0]
    others = scores.scatter(1, LABELS[:, None], -math.inf).logsumexp(dim=1)
    found = prototype_contrast(embeddings, prototypes, LABELS, 0.3)
    torch.testing.assert_close(found, (others - own).mean())


def test_lengths_change_nothing():
    embeddings, prototypes = drawn(5, 6), drawn(4, 6, seed=1)
    found = prototype_contrast(embeddings, prototypes, LABELS)
    longer = prototype_contrast(7 * embeddings, drawn(4, 1, seed=2).exp() * prototypes, LABELS)
    torch.testing.assert_close(longer, found)
    views = drawn(2, 5, 6)
    torch.testing.assert_close(
        supervised_contrast(3 * views, LABELS), supervised_contrast(views, LABELS)
    )


def test_gradients_are_those_of_the_values():
    embeddings, prototypes = drawn(5, 3).requires_grad_(), drawn(4, 3, seed=1).requires_grad_()
    assert torch.autograd.gradcheck(
        lambda v, q: prototype_contrast(v, q, LABELS, 0.5), (embeddings, prototypes)
    )
    views = drawn(2, 5, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda v: supervised_contrast(v, LABELS, 0.5), views)


def test_an_image_of_one_view_without_others_of_its_class_has_no_loss():
    views = drawn(1, 3, 4)
    assert float(supervised_contrast(views, torch.arange(3))) == 0
    pair = supervised_contrast(views, torch.tensor([0, 0, 1]))
    assert pair > 0


@pytest.mark.parametrize("size", [1.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_losses_are_finite_in_single_precision(size, dtype):
    embeddings = (size * drawn(2, 5, 6)).to(dtype)
    embeddings[0, 0] = 0  # without direction
    embeddings[1, 1] = embeddings[0, 1]
    embeddings = embeddings.requires_grad_()
    prototypes = (size * drawn(4, 6)).to(dtype)
    with torch.autocast("cpu", torch.bfloat16):
        values = (
            supervised_contrast(embeddings, LABELS, 0.01),
            prototype_contrast(embeddings.flatten(0, 1), prototypes, LABELS.repeat(2), 0.01),
        )
    for value in values:
        (gradient,) = torch.autograd.grad(value, embeddings)
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert gradient.isfinite().all()


def test_a_single_class_has_no_prototype_to_be_told_from():
    assert float(prototype_contrast(drawn(2, 3), drawn(1, 3), torch.zeros(2).long())) == 0
