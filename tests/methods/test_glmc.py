"""GLMC: mixtures of two streams, both classifiers and consistency."""

import math

import pytest
import torch

from ltbench.augment import MixedBatch
from ltbench.augment.mixing import box
from ltbench.core.batch import Batch
from ltbench.losses import cross_entropy
from ltbench.methods.augmentation.glmc import (
    GLMC,
    GLMCHParams,
    consistency,
    mixed_cross_entropy,
    mixtures,
)
from ltbench.methods.contract import EpochDraw, Progress
from ltbench.networks import NetworkSpec
from ltbench.testing import steps
from ltbench.testing.jobs import Case

EXACT = {"rtol": 1e-8, "atol": 1e-10}
CASE = Case("glmc")


def soft_labels(mixed, classes, weights=1.0):
    labels, partners = (
        torch.nn.functional.one_hot(each, classes).double() * weights
        for each in (mixed.labels, mixed.partners)
    )
    return mixed.share * labels + (1 - mixed.share) * partners


def method_of(oracle):
    counts = oracle["counts"].long()
    hparams = GLMCHParams(
        weighting=float(oracle.hparams["label_weighting"]),
        consistency=float(oracle.hparams["contrast_weight"]),
    )
    method = GLMC(NetworkSpec("resnet8", len(counts)), counts, hparams)
    epoch, epochs = oracle.hparams["epoch_0based"], oracle.hparams["epochs"]
    method.progress = Progress(epoch, epochs, deferred=False)
    return method


def mixtures_of(oracle):
    batches = (
        Batch(torch.stack([oracle[f"{name}1"], oracle[f"{name}2"]]), labels, labels)
        for name, labels in (
            ("org", oracle["labels_org"].long()),
            ("invs", oracle["labels_invs"].long()),
        )
    )
    return mixtures(*batches, oracle.hparams["lambda"], tuple(oracle["box_center"].tolist()))


@pytest.mark.oracle("glmc", has=["mixup_x"])
def test_images_and_labels_are_mixed(oracle):
    classes, weights = len(oracle["counts"]), method_of(oracle).weights
    torch.testing.assert_close(weights, oracle["per_cls_weights"], **EXACT)
    for mixed, kind in zip(mixtures_of(oracle), ("mixup", "cutmix"), strict=True):
        torch.testing.assert_close(mixed.images, oracle[f"{kind}_x"], **EXACT)
        torch.testing.assert_close(soft_labels(mixed, classes), oracle[f"{kind}_y"], **EXACT)
        found = soft_labels(mixed, classes, weights)
        torch.testing.assert_close(found, oracle[f"{kind}_y_w"], **EXACT)


@pytest.mark.oracle("glmc", has=["loss"])
def test_losses_and_gradients(oracle):
    method, mixed = method_of(oracle), mixtures_of(oracle)
    logits = oracle["logits_ce1_ce2_cb1_cb2"].requires_grad_()
    z1, p1, z2, p2 = oracle["proj_z1_p1_z2_p2"].requires_grad_().unbind()
    apart = consistency((z1, z2), (p1, p2))
    plain, rebalanced = (logits[0], logits[1]), (logits[2], logits[3])
    losses = method.losses(plain, rebalanced, mixed, apart)
    alpha, weight = method.alpha, oracle.hparams["contrast_weight"]
    assert alpha == pytest.approx(float(oracle["alpha"]), rel=1e-12)
    torch.testing.assert_close(apart, oracle["loss_contrast"], **EXACT)
    torch.testing.assert_close(losses["plain"], alpha * oracle["loss_balance"], **EXACT)
    expected = (1 - alpha) * oracle["loss_rebalance"]
    torch.testing.assert_close(losses["rebalanced"], expected, **EXACT)
    torch.testing.assert_close(losses["consistency"], weight * oracle["loss_contrast"], **EXACT)
    loss = sum(losses.values())
    torch.testing.assert_close(loss, oracle["loss"], **EXACT)
    found = torch.autograd.grad(loss, [logits, p1, p2, z1, z2], allow_unused=True)
    torch.testing.assert_close(found[0], oracle["grad_logits"], rtol=1e-5, atol=1e-9)
    expected = oracle["grad_p1_p2"]
    torch.testing.assert_close(torch.stack(found[1:3]), expected, rtol=1e-5, atol=1e-9)
    assert found[3:] == (None, None)


@pytest.mark.oracle("glmc", has=["alpha_curve_0based_E200"])
def test_the_curve_of_alpha(oracle):
    method = method_of(oracle)
    for epoch, expected in enumerate(oracle["alpha_curve_0based_E200"].tolist()):
        method.progress = Progress(epoch, 200, deferred=False)
        assert method.alpha == pytest.approx(expected, rel=1e-12)


def test_sides_of_the_box_are_rounded_up():
    share = 1 - (2.9 / 8) ** 2  # 2.9 rows and 7.25 columns
    assert box(share, (8, 20), (4, 10), round_up=True) == (slice(3, 5), slice(6, 14))
    assert box(share, (8, 20), (4, 10)) == (slice(3, 5), slice(7, 13))
    views = torch.zeros(2, 3, 1, 8, 20)
    labels = torch.arange(3)
    _, pasted = mixtures(
        Batch(views, labels, labels), Batch(views + 1, labels, labels), share, (4, 10)
    )
    assert pasted.images.sum() == 3 * 2 * 8
    assert pasted.share == share
    assert not views.any()


def test_equal_counts_have_no_weights():
    method = steps.build(CASE, counts=(7, 7, 7, 7))
    assert method.weights.equal(torch.ones(4, dtype=torch.float64))
    labels = torch.tensor([0, 1, 2])
    mixed = MixedBatch(torch.zeros(3, 1, 2, 2), labels, labels.flip(0), 0.3)
    logits = torch.randn(3, 4)
    weighted = mixed_cross_entropy(logits, mixed, method.weights)
    assert weighted.equal(mixed_cross_entropy(logits, mixed))


def test_one_label_gives_the_cross_entropy():
    labels = torch.tensor([0, 1, 2])
    mixed = MixedBatch(torch.zeros(3, 1, 2, 2), labels, labels, 1.0)
    logits = torch.randn(3, 4)
    assert mixed_cross_entropy(logits, mixed).equal(cross_entropy(logits, labels))


def test_consistency_is_between_the_mixtures_and_ignores_length():
    a, b = torch.randn(2, 6, 5, dtype=torch.float64)
    assert float(consistency((a, b), (b, 3 * a))) == pytest.approx(-2)
    assert float(consistency((a, b), (a, b))) > -2


def test_large_logits_have_finite_gradients():
    labels = torch.tensor([0, 1, 2])
    mixed = MixedBatch(torch.zeros(3, 1, 2, 2), labels, labels.flip(0), 0.3)
    logits = (1e4 * torch.randn(3, 4)).requires_grad_()
    p = (1e4 * torch.randn(2, 3, 4)).requires_grad_()
    apart = consistency((torch.zeros(3, 4), p[0]), (p[1], torch.zeros(3, 4)))
    loss = mixed_cross_entropy(logits, mixed, torch.rand(4)) + apart
    assert loss.isfinite()
    for gradient in torch.autograd.grad(loss, [logits, p]):
        assert gradient.isfinite().all()


def test_labels_outside_the_classes_are_refused():
    labels = torch.tensor([0, 1, 4])
    mixed = MixedBatch(torch.zeros(3, 1, 2, 2), labels, labels, 0.5)
    with pytest.raises(ValueError, match="label"):
        mixed_cross_entropy(torch.zeros(3, 4), mixed)


@pytest.mark.parametrize(("resampling", "share"), [(0.0, 1 / 6), (1.0, 1 / 2)])
def test_streams(resampling, share):
    method = steps.begin(Case("glmc", {"resampling": resampling}))
    labels = torch.tensor([0] * 4000 + [1] * 800)
    streams = method.epoch_indices(EpochDraw(labels, 0, 4, 8, seed=1))
    assert streams["uniform"].flatten().unique().numel() == 4800
    found = labels[streams["resampled"]].double().mean()
    assert math.isclose(float(found), share, abs_tol=0.04)
    assert method.stage.views == ("recipe", "recipe")


class ChosenRNG:
    """Gives one share and one place of the box."""

    def beta(self, alpha):
        assert alpha == 1
        return 0.3

    def shared(self, *shape):
        assert shape == (2,)
        return torch.tensor([0.5, 0.99])


def test_a_step_mixes_the_streams_and_trains_every_part():
    method = steps.begin(CASE).double()
    uniform = steps.training_batch(method)
    uniform = uniform if isinstance(uniform, Batch) else uniform["uniform"]
    resampled = Batch(uniform.images.flip(1), uniform.labels.flip(0), uniform.index)
    method.progress = Progress(2, 4, deferred=False)
    method.rng = ChosenRNG()
    losses = method.training_loss({"uniform": uniform, "resampled": resampled})
    side = uniform.images.shape[-1]
    mixed = mixtures(uniform, resampled, 0.3, (side // 2, int(0.99 * side)))
    network = method.network
    features = [network.features(each.images) for each in mixed]
    z = [network.projection(each) for each in features]
    p = [network.prediction(each) for each in z]
    expected = method.losses(
        tuple(network.plain(each) for each in features),
        tuple(network.classifier(each) for each in features),
        mixed,
        consistency(tuple(z), tuple(p)),
    )
    for name, loss in losses.items():
        torch.testing.assert_close(loss, expected[name])
    sum(losses.values()).backward()
    assert all(parameter.grad.any() for parameter in method.network.parameters())


def test_predictions_are_the_rebalanced_classifiers():
    method = steps.begin(CASE).double().eval()
    images = steps.evaluation_batch(method).images
    expected = method.network.classifier(method.network.features(images))
    assert method.predict(images).equal(expected)


def test_the_rate_is_relative_to_the_recipes():
    assert steps.begin(Case("glmc", {"lr": 0.1})).lr_scale("network.plain.weight") == 0.1
