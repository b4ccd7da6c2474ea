import pytest
import torch
import torch.nn.functional as F

from ltbench.augment import MixedBatch, cutmix, mix, mixup, permuted, unmixed
from ltbench.augment.mixing import box, paste
from ltbench.core.batch import Batch
from ltbench.core.rng import GlobalBatchRNG

EXACT = {"rtol": 1e-8, "atol": 1e-10}


class ChosenRNG(GlobalBatchRNG):
    """Random numbers that a test chooses."""

    def __init__(self, share=None, order=None, center=None):
        self.share, self.order, self.center, self.alphas = share, order, center, []

    def beta(self, alpha):
        self.alphas.append(alpha)
        return self.share

    def permutation(self, samples):
        return self.order

    def shared(self, *shape):
        return self.center if shape == (2,) else torch.zeros(shape)


def batch_of(oracle):
    labels = oracle["labels"].long()
    return Batch(oracle["images"], labels, labels)


def center_of(oracle):
    """Return a case's center of boxes as uniform numbers, a half a pixel further."""
    return (oracle["box_center_cx_cy"] + 0.5) / oracle["images"].shape[-1]


def cross_entropy_of(mixed, logits):
    """Return the cross-entropy of soft labels, and its gradient."""
    logits = logits.clone().requires_grad_()
    loss = mixed.loss(lambda labels: F.cross_entropy(logits, labels))
    return loss, *torch.autograd.grad(loss, logits)


def check_loss(mixed, oracle, kind):
    loss, gradient = cross_entropy_of(mixed, oracle["logits"])
    torch.testing.assert_close(loss, oracle[f"{kind}_loss"], **EXACT)
    classes = oracle["logits"].shape[1]
    own, other = (F.one_hot(y, classes).double() for y in (mixed.labels, mixed.partners))
    soft = mix(own, other, mixed.share)
    expected = (oracle["logits"].softmax(dim=1) - soft) / len(soft)
    torch.testing.assert_close(gradient, expected, **EXACT)
    if kind != "cutmix":  # the file has no gradient of CutMix
        torch.testing.assert_close(gradient, oracle[f"{kind}_grad_logits"], **EXACT)


@pytest.mark.oracle("mix_family", has=["mixup_images"])
def test_mixup(oracle):
    rng = ChosenRNG(oracle.hparams["lambda"], oracle["perm"].long())
    mixed = mixup(batch_of(oracle), 1.0, rng)
    torch.testing.assert_close(mixed.images, oracle["mixup_images"], **EXACT)
    check_loss(mixed, oracle, "mixup")


@pytest.mark.oracle("mix_family", has=["cutmix_images"])
def test_cutmix(oracle):
    batch, share = batch_of(oracle), oracle.hparams["lambda"]
    rng = ChosenRNG(share, oracle["perm"].long(), center_of(oracle))
    mixed = cutmix(batch, *permuted(batch, rng), 1.0, rng)
    assert mixed.images.equal(oracle["cutmix_images"])
    assert mixed.share == pytest.approx(float(oracle["cutmix_lambda_area"]), rel=1e-12)
    check_loss(mixed, oracle, "cutmix")


@pytest.mark.oracle("mix_family", has=["cmo_images"])
def test_boxes_of_a_second_batch(oracle):
    foreground = oracle["cmo_foreground_images"], oracle["cmo_foreground_labels"].long()
    rng = ChosenRNG(oracle.hparams["lambda"], center=center_of(oracle))
    mixed = cutmix(batch_of(oracle), *foreground, 1.0, rng)
    assert mixed.images.equal(oracle["cmo_images"])
    assert mixed.share == pytest.approx(float(oracle["cmo_lambda_area"]), rel=1e-12)
    check_loss(mixed, oracle, "cmo")


@pytest.mark.oracle("mix_family", has=["cutmix_box_x1y1x2y2", "cmo_box_x1y1x2y2"])
def test_box(oracle):
    center, size = oracle["box_center_cx_cy"].tolist(), oracle["images"].shape[-1]
    rows, columns = box(oracle.hparams["lambda"], (size, size), center)
    for kind in ("cutmix", "cmo"):
        expected = oracle[f"{kind}_box_x1y1x2y2"].tolist()  # x indexes rows
        assert [rows.start, columns.start, rows.stop, columns.stop] == expected


def test_the_ends_are_the_values_and_their_partners():
    values, partners = torch.randn(2, 5, 3)
    assert mix(values, partners, 1.0).equal(values)
    assert mix(values, partners, 0.0).equal(partners)


def test_a_box_has_the_rows_and_columns_of_its_image_and_ends_at_its_borders():
    assert box(0.75, (8, 20), (4, 10)) == (slice(2, 6), slice(5, 15))
    assert box(0.75, (8, 20), (0, 19)) == (slice(0, 2), slice(14, 20))
    assert box(1.0, (8, 20), (3, 3)) == (slice(3, 3), slice(3, 3))
    assert box(0.0, (8, 20), (4, 10)) == (slice(0, 8), slice(0, 20))


def test_the_share_is_that_of_the_pixels_that_remain():
    ours, theirs = torch.zeros(3, 2, 8, 20), torch.ones(3, 2, 8, 20)
    labels = torch.arange(3)
    mixed = paste(Batch(ours, labels, labels), theirs, labels + 1, box(0.75, (8, 20), (0, 10)))
    assert mixed.share == pytest.approx(1 - float(mixed.images.mean()))
    assert mixed.share == 1 - 2 * 10 / 160
    assert not ours.any()
    assert mixed.partners.tolist() == [1, 2, 3]


def test_boxes_reach_every_pixel_and_treat_rows_as_columns():
    labels = torch.zeros(1, dtype=torch.int64)
    background = Batch(torch.zeros(1, 1, 4, 4), labels, labels)
    rng = GlobalBatchRNG(torch.Generator().manual_seed(0))
    covered = torch.zeros(4, 4)
    for _ in range(2000):
        covered += cutmix(background, torch.ones(1, 1, 4, 4), labels, 1.0, rng).images[0, 0]
    assert covered.min() > 0
    torch.testing.assert_close(covered, covered.T, rtol=0.2, atol=30)


def test_a_batch_that_is_not_mixed_has_the_loss_of_its_labels():
    logits, labels = torch.randn(6, 3), torch.arange(6) % 3
    loss, gradient = cross_entropy_of(unmixed(Batch(logits, labels, labels)), logits)
    logits.requires_grad_()
    plain = F.cross_entropy(logits, labels)
    assert loss.equal(plain)
    assert gradient.equal(*torch.autograd.grad(plain, logits))


def test_the_mixed_loss_is_that_of_soft_labels():
    logits, labels = torch.randn(6, 3).double(), torch.arange(6) % 3
    mixed = MixedBatch(logits, labels, labels.flip(0), 0.3)
    soft = mix(*(F.one_hot(y, 3).double() for y in (labels, labels.flip(0))), 0.3)
    loss, _ = cross_entropy_of(mixed, logits)
    torch.testing.assert_close(loss, F.cross_entropy(logits, soft))
