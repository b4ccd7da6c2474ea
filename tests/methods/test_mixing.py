"""Whole mixing methods against the authors' numbers, and what each promises by itself."""

from dataclasses import replace

import pytest
import torch
from torch import nn

from ltbench.augment import MixedBatch, mix, relabel
from ltbench.core.batch import Batch
from ltbench.core.rng import GlobalBatchRNG
from ltbench.core.seeding import make_generator
from ltbench.losses import cross_entropy
from ltbench.methods import METHODS
from ltbench.methods.contract import EpochDraw, Progress
from ltbench.networks import NetworkSpec
from ltbench.samplers.probabilities import power
from tests.augment.test_mixing import EXACT, ChosenRNG, batch_of, center_of


class Recorder(nn.Module):
    """A network with given logits, which keeps its images."""

    def __init__(self, logits):
        super().__init__()
        self.logits = logits

    def forward(self, images):
        self.images = images
        return self.logits


def build(key, oracle, **hparams):
    """Return a method whose network has a case's logits, and these."""
    kind, counts = METHODS[key], oracle["counts"].long()
    spec = NetworkSpec("resnet8", classes=len(counts))
    method = kind(spec, counts, kind.HParams(**{"loss": "softmax"} | hparams))
    logits = oracle["logits"].clone().requires_grad_()
    method.network = Recorder(logits)
    method.rng = ChosenRNG(oracle.hparams["lambda"], oracle["perm"].long(), center_of(oracle))
    return method, logits


def streams(oracle):
    """Return a case's step of CMO."""
    labels = oracle["cmo_foreground_labels"].long()
    foreground = Batch(oracle["cmo_foreground_images"], labels, labels)
    return {"background": batch_of(oracle), "foreground": foreground}


def step_of(key, oracle):
    """Return a case's step of a method."""
    return streams(oracle) if key == "cmo" else batch_of(oracle)


def soft_label_gradient(oracle, partners, share):
    """Return the gradient of the mean cross-entropy of soft labels, share [B] or a number."""
    classes = oracle["logits"].shape[1]
    own, other = (
        nn.functional.one_hot(y.long(), classes).double() for y in (oracle["labels"], partners)
    )
    return (oracle["logits"].softmax(dim=1) - mix(own, other, share)) / len(own)


@pytest.mark.oracle("mix_family", has=["cutmix_loss"])
def test_cutmix(oracle):
    """The file has no gradient of CutMix: it is that of the soft labels."""
    method, logits = build("cutmix", oracle)
    loss = method.training_loss(batch_of(oracle))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert method.network.images.equal(oracle["cutmix_images"])
    torch.testing.assert_close(loss, oracle["cutmix_loss"], **EXACT)
    partners, share = oracle["labels"][oracle["perm"].long()], oracle["cutmix_lambda_area"]
    expected = soft_label_gradient(oracle, partners, share)
    torch.testing.assert_close(gradient, expected, **EXACT)


@pytest.mark.oracle("mix_family", has=["cutmix_loss"])
def test_without_boxes_cutmix_is_cross_entropy_bit_for_bit(oracle):
    method, logits = build("cutmix", oracle, probability=0.0)
    batch = batch_of(oracle)
    loss, plain = method.training_loss(batch), cross_entropy(logits, batch.labels)
    assert method.network.images is batch.images
    assert loss.equal(plain)
    gradients = (torch.autograd.grad(value, logits)[0] for value in (loss, plain))
    assert torch.equal(*gradients)


@pytest.mark.oracle("mix_family", has=["cutmix_loss", "cmo_loss"])
@pytest.mark.parametrize("key", ["cutmix", "cmo"])
def test_a_share_of_the_batches_is_mixed(oracle, key):
    method, _ = build(key, oracle, probability=0.3)
    method.rng = GlobalBatchRNG(make_generator(0, "method", 0))
    method.progress = Progress(100, 200, deferred=False)
    step, mixed = step_of(key, oracle), 0
    batch = step["background"] if key == "cmo" else step
    for _ in range(400):
        method.training_loss(step)
        mixed += method.network.images is not batch.images
    assert mixed == pytest.approx(120, abs=30)


@pytest.mark.oracle("mix_family", has=["cmo_loss"])
@pytest.mark.parametrize("key", ["mixup", "cutmix", "remix", "cmo"])
def test_shares_are_drawn_from_the_beta_distribution_of_alpha(oracle, key):
    method, _ = build(key, oracle, alpha=0.7)
    method.progress = Progress(100, 200, deferred=False)
    method.training_loss(step_of(key, oracle))
    assert method.rng.alphas == [0.7]


@pytest.mark.oracle("mix_family", has=["cmo_loss"])
@pytest.mark.parametrize("key", ["mixup", "cutmix", "remix", "cmo"])
def test_classes_are_weighed_from_the_deferred_epoch_on(oracle, key):
    for loss in ("softmax", "drw"):
        method, _ = build(key, oracle, loss=loss)
        step, values = step_of(key, oracle), []
        for deferred in (False, True):
            method.progress = Progress(100, 200, deferred=deferred)
            values.append(method.training_loss(step))
        assert values[0].equal(values[1]) == (loss == "softmax")


def shares(oracle):
    """Return a case's 25 shares of mixup, and those of its pairs' first labels [16]."""
    return zip(
        oracle["remix_lambda_x_grid"].tolist(),
        oracle["remix_lambda_y"],
        oracle["remix_loss"],
        strict=True,
    )


@pytest.mark.oracle("mix_family", has=["remix_loss"])
def test_remix(oracle):
    """The file has no gradient of Remix: it is that of the soft labels with its lambda_y."""
    kappa, tau = float(oracle["remix_hp_kappa"]), float(oracle["remix_hp_tau"])
    partners, changed = oracle["labels"][oracle["perm"].long()], 0
    for share, label_share, expected in shares(oracle):
        method, logits = build("remix", oracle, ratio=kappa, threshold=tau)
        method.rng.share = share
        loss = method.training_loss(batch_of(oracle))
        (gradient,) = torch.autograd.grad(loss, logits)
        images = mix(oracle["images"], oracle["images"][oracle["perm"].long()], share)
        assert method.network.images.equal(images)
        torch.testing.assert_close(loss, expected, **EXACT)
        torch.testing.assert_close(
            gradient, soft_label_gradient(oracle, partners, label_share[:, None]), **EXACT
        )
        changed += int((label_share != share).sum())
    assert changed


@pytest.mark.oracle("mix_family", has=["remix_loss"])
def test_remix_of_similar_classes_is_mixup_bit_for_bit(oracle):
    for share, *_ in shares(oracle):
        losses = []
        for key, hparams in (("mixup", {}), ("remix", {"ratio": 1e9}), ("remix", {"threshold": 0})):
            method, _ = build(key, oracle, **hparams)
            method.rng.share = share
            losses.append(method.training_loss(batch_of(oracle)))
        assert losses[0].equal(losses[1])
        assert losses[0].equal(losses[2])


def test_a_rare_label_takes_the_pair_from_exactly_kappa_times_as_many_images():
    counts, labels = torch.tensor([9, 3, 2]), torch.tensor([0, 1, 0, 1])
    partners = torch.tensor([1, 0, 0, 2])
    mixed = MixedBatch(torch.zeros(4), labels, partners, 0.4)
    rare = relabel(mixed, counts, 3.0, 0.5)
    assert rare.labels.tolist() == [1, 1, 0, 1]  # 0.4 of class 0: its label is dropped
    assert rare.partners.tolist() == [1, 0, 0, 2]  # 0.6 of class 0: it is kept
    rare = relabel(replace(mixed, share=0.6), counts, 3.0, 0.5)
    assert rare.labels.tolist() == [0, 1, 0, 1]
    assert rare.partners.tolist() == [1, 1, 0, 2]
    assert relabel(replace(mixed, share=0.5), counts, 3.0, 0.5).labels.equal(labels)


@pytest.mark.oracle("mix_family", has=["cmo_loss"])
def test_cmo(oracle):
    method, logits = build("cmo", oracle)
    method.progress = Progress(100, 200, deferred=False)
    loss = method.training_loss(streams(oracle))
    (gradient,) = torch.autograd.grad(loss, logits)
    assert method.network.images.equal(oracle["cmo_images"])
    torch.testing.assert_close(loss, oracle["cmo_loss"], **EXACT)
    torch.testing.assert_close(gradient, oracle["cmo_grad_logits"], **EXACT)


@pytest.mark.oracle("mix_family", has=["cmo_active_epochs_of_200_0based"])
def test_cmo_does_not_mix_at_the_ends_of_training(oracle):
    method, _ = build("cmo", oracle)
    mixed = []
    for epoch in range(200):
        method.progress = Progress(epoch, 200, deferred=False)
        method.training_loss(streams(oracle))
        mixed += [] if method.network.images.equal(oracle["images"]) else [epoch]
    assert mixed == oracle["cmo_active_epochs_of_200_0based"].tolist()


@pytest.mark.oracle("mix_family", has=["cmo_sampler_weight_per_class_alpha1.0"])
@pytest.mark.parametrize("exponent", [1.0, 0.5])
def test_foregrounds_are_drawn_by_inverse_class_size(oracle, exponent):
    method, _ = build("cmo", oracle, power=exponent)
    counts = oracle["counts"].long()
    labels = torch.arange(len(counts)).repeat_interleave(counts)
    draw = EpochDraw(labels, epoch=0, epochs=1, batch=16, seed=0)
    epochs = [replace(draw, epoch=e) for e in range(max(1, 20_000 // len(labels)))]
    drawn = torch.cat([method.epoch_indices(each)["foreground"].flatten() for each in epochs])
    weights = counts * oracle[f"cmo_sampler_weight_per_class_alpha{exponent}"]
    expected = weights / weights.sum()
    found = torch.bincount(labels[drawn], minlength=len(counts)) / len(drawn)
    torch.testing.assert_close(found.double(), expected, rtol=0.1, atol=0.01)
    torch.testing.assert_close(power(counts, 1 - exponent), expected, **EXACT)
    backgrounds = method.epoch_indices(draw)["background"]
    assert backgrounds.flatten().unique().numel() == backgrounds.numel()
