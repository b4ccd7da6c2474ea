"""Seesaw loss."""

import pytest
import torch

from ltbench.losses import cross_entropy, seesaw
from tests.losses.test_loss_oracles import EXACT

SEEN = torch.tensor([500, 200, 90, 41, 17, 6, 0])


@pytest.mark.oracle("seesaw", has=["loss"])
def test_seesaw(oracle):
    """Each of the consecutive calls, with the images seen after it."""
    p, q, epsilon = (oracle.hparams[name] for name in ("p", "q", "eps"))
    names = ("logits", "labels", "cum_samples_after", "loss", "grad_logits", "loss_f32")
    calls = list(zip(*map(oracle.__getitem__, names), strict=True))
    assert len(calls) > 1
    for logits, labels, seen, loss, gradient, single in calls:
        logits.requires_grad_()
        value = seesaw(logits, labels, seen, p, q, epsilon)
        torch.testing.assert_close(value, loss, **EXACT)
        (found,) = torch.autograd.grad(value, logits)
        torch.testing.assert_close(found, gradient, **EXACT)
        value = seesaw(logits.float(), labels, seen, p, q, epsilon)
        torch.testing.assert_close(value.double(), single, rtol=1e-4, atol=1e-6)


def test_without_strength_it_is_cross_entropy(batch):
    assert seesaw(*batch, SEEN, p=0.0, q=0.0).equal(cross_entropy(*batch))


def test_factors_are_those_of_the_paper(batch):
    logits, labels = batch
    sizes, scores = SEEN.clamp(min=1).double(), logits.softmax(1)
    wanted = []
    for z, s, y in zip(logits, scores, labels, strict=True):
        m = (sizes / sizes[y]).clamp(max=1) ** 0.8
        k = (s / max(s[y], 0.01)).clamp(min=1) ** 2
        m[y] = k[y] = 1
        wanted.append((m * k * z.exp()).sum().log() - z[y])
    torch.testing.assert_close(seesaw(*batch, SEEN), torch.stack(wanted).mean())


def test_only_proportions_of_images_matter(batch):
    seen = SEEN + 1
    torch.testing.assert_close(seesaw(*batch, 12 * seen), seesaw(*batch, seen))


def test_a_shift_of_all_logits_changes_nothing(batch):
    logits, labels = batch
    torch.testing.assert_close(seesaw(logits + 3.7, labels, SEEN), seesaw(logits, labels, SEEN))


def test_finite_at_large_logits(batch):
    logits, labels = (50 * batch[0].sign()).float().requires_grad_(), batch[1]
    value = seesaw(logits, labels, torch.zeros(7))
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.isfinite()
    assert gradient.isfinite().all()


def test_half_precision_logits_lose_no_more_than_their_own_rounding(batch):
    logits, labels = batch[0].bfloat16(), batch[1]
    with torch.autocast("cpu", torch.bfloat16):
        value = seesaw(logits, labels, SEEN)
    torch.testing.assert_close(value, seesaw(logits.float(), labels, SEEN), rtol=1e-5, atol=0)
