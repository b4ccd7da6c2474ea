"""Losses of unequal training, and ArcFace, against the authors' numbers and in their limits."""

import math

import pytest
import torch
import torch.nn.functional as F

from ltbench.losses import arcface_logits, center_dispersion, cross_entropy, noise_resistant

SINGLE = {"rtol": 2e-5, "atol": 2e-6}
"""The file's numbers are of single precision."""

LABELS = torch.arange(3)


def rows(*values):
    return torch.tensor([values], dtype=torch.float64).repeat(3, 1)


TOY, COSINES = rows(2.0, 1.0, 0.0), rows(0.6, 0.3, 0.1)


def drawn(*shape, seed=0):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


@pytest.mark.oracle("unequal_training", has=["arcface_logits", "nr_loss_div_2B"])
def test_noise_resistance_on_arcface(oracle):
    """The authors divide by twice the batch."""
    hparams, labels = oracle.hparams, oracle["labels"].long()
    embeddings = oracle["embeddings"].requires_grad_()
    weight = oracle["weight"].requires_grad_()
    cosines = F.normalize(embeddings) @ F.normalize(weight).T
    logits = arcface_logits(cosines, labels, hparams["s"], hparams["m"])
    torch.testing.assert_close(logits, oracle["arcface_logits"], **SINGLE)
    torch.testing.assert_close(logits.argmax(dim=1).double(), oracle["pred_label"])
    total = len(labels) * cross_entropy(logits, labels)
    torch.testing.assert_close(total, oracle["ce_gt_sum"][0], **SINGLE)
    value = noise_resistant(logits, labels, hparams["noise_beta"]) / 2
    torch.testing.assert_close(value, oracle["nr_loss_div_2B"][0], **SINGLE)
    gradients = torch.autograd.grad(value, (embeddings, weight))
    for name, gradient in zip(("embeddings", "weight"), gradients, strict=True):
        expected = oracle[f"nr_grad_{name}"]
        atol = 2e-5 * float(expected.abs().max())
        torch.testing.assert_close(gradient, expected, rtol=2e-5, atol=atol)


@pytest.mark.oracle("unequal_training", has=["plain_logits"])
def test_noise_resistance_on_logits(oracle):
    logits = oracle["plain_logits"].requires_grad_()
    value = noise_resistant(logits, oracle["labels"].long(), oracle.hparams["noise_beta"]) / 2
    (gradient,) = torch.autograd.grad(value, logits)
    torch.testing.assert_close(value, oracle["plain_nr_loss_div_2B"][0], **SINGLE)
    torch.testing.assert_close(gradient, oracle["plain_grad_logits"], **SINGLE)


@pytest.mark.oracle("unequal_training", has=["cd_loss"])
def test_dispersion_of_centers(oracle):
    embeddings = oracle["cd_embeddings_raw_grouped_by_identity"].requires_grad_()
    labels = torch.arange(len(embeddings)) // int(oracle["cd_images_per_identity"])
    value = oracle.hparams["cd_weight"] * center_dispersion(embeddings, labels)
    (gradient,) = torch.autograd.grad(value, embeddings)
    torch.testing.assert_close(value, oracle["cd_loss"][0], **SINGLE)
    torch.testing.assert_close(gradient, oracle["cd_grad_embeddings_raw"], **SINGLE)


@pytest.mark.parametrize(
    ("scale", "expected"),
    [(30.0, (4.72114734, 23.82204171, 29.67804735)), (64.0, (10.04746326, 50.820355, 63.31290444))],
)
def test_arcface_of_three_classes(scale, expected):
    logits = arcface_logits(COSINES, LABELS, scale, 0.5)
    found = F.cross_entropy(logits, LABELS, reduction="none")
    assert found.tolist() == pytest.approx(expected, abs=5e-9)


def test_noise_resistance_of_three_classes():
    found = [float(noise_resistant(TOY[:1], LABELS[k : k + 1], 0.9)) for k in range(3)]
    assert found == pytest.approx([0.40760596, 1.30760596, 2.20760596], abs=5e-9)


def test_arcface_bends_where_the_angle_would_pass_a_half_turn():
    cosines = torch.tensor([[-0.9, 0.2, 0.0], [0.2, -0.87, 0.0]], dtype=torch.float64)
    logits = arcface_logits(cosines, torch.tensor([0, 1]), 2.0, 0.5)
    assert float(logits[0, 0]) == pytest.approx(2 * (-0.9 - 0.5 * math.sin(0.5)))
    assert float(logits[1, 1]) == pytest.approx(2 * math.cos(math.acos(-0.87) + 0.5))
    assert logits[0, 1:].tolist() == [0.4, 0]


def test_gradients_are_those_of_the_values():
    cosines = (0.9 * drawn(5, 4).tanh()).requires_grad_()
    labels = torch.tensor([0, 1, 2, 3, 0])
    assert torch.autograd.gradcheck(lambda c: arcface_logits(c, labels, 3.0, 0.5), cosines)
    logits = drawn(5, 4).requires_grad_()
    assert torch.autograd.gradcheck(lambda z: noise_resistant(z, labels, 0.7), logits)
    embeddings = drawn(5, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda e: center_dispersion(e, labels), embeddings)


def test_limits_of_arcface_and_noise_resistance():
    labels, cosines = torch.tensor([0, 1, 2, 3, 0]), drawn(5, 4).tanh()
    assert arcface_logits(cosines, labels, 30.0, 0.0).equal(30 * cosines)
    logits = drawn(5, 4)
    assert noise_resistant(logits, labels, 1.0).equal(cross_entropy(logits, labels))
    predicted = logits.argmax(dim=1)
    same = noise_resistant(logits, predicted, 0.3)
    torch.testing.assert_close(same, cross_entropy(logits, predicted))


def at(*degrees):
    angles = torch.tensor(degrees, dtype=torch.float64) * math.pi / 180
    return torch.stack([angles.cos(), angles.sin()], dim=1)


def test_centers_at_angles():
    assert float(center_dispersion(at(0, 60, 120), LABELS)) == pytest.approx(1 / 6)
    assert float(center_dispersion(at(0, 90), LABELS[:2])) == pytest.approx(0, abs=1e-15)
    assert float(center_dispersion(at(0, 180), LABELS[:2])) == pytest.approx(1 / 2)
    assert float(center_dispersion(at(0, 30, 50), torch.zeros(3).long())) == 0


def test_centers_are_of_classes_however_many_images_they_have():
    around = torch.cat([at(-20, 0, 20), at(60), at(100, 140)])
    labels = torch.tensor([7, 7, 7, 2, 4, 4])
    order = torch.tensor([4, 0, 3, 1, 5, 2])
    found = center_dispersion((3 * around)[order], labels[order])
    assert float(found) == pytest.approx(1 / 6)


@pytest.mark.parametrize("size", [1.0, 1e4])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_losses_are_finite_in_single_precision(size, dtype):
    labels = torch.tensor([0, 1, 2, 0, 1])
    features = torch.cat([drawn(4, 6), torch.zeros(1, 6).double()])  # one without direction
    features[3] = -features[0]  # two that cancel
    features = (size * features).to(dtype).requires_grad_()
    cosines = torch.eye(6)[:3].sub(1e-9).to(dtype)[:, :3].repeat(2, 1)[:5].requires_grad_()
    logits = (size * drawn(5, 3).sign()).to(dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        values = (
            center_dispersion(features, labels),
            arcface_logits(cosines, labels).sum(),
            noise_resistant(logits, labels),
        )
    for value, argument in zip(values, (features, cosines, logits), strict=True):
        (gradient,) = torch.autograd.grad(value, argument)
        assert value.dtype == torch.float32
        assert value.isfinite()
        assert gradient.isfinite().all()
