"""Focal, class-balanced, equalization and LADE losses, and prior re-balancing."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.losses import (
    balanced_binary,
    binary,
    class_balanced,
    cross_entropy,
    effective_number_weights,
    equalization,
    focal,
    lader,
    logit_adjustment,
    one_vs_all_targets,
    posthoc_adjustment,
    prior_rebalancing,
    sigmoid_focal,
    softmax_binary,
)
from tests.losses.test_loss_oracles import EXACT, check

COUNTS = torch.tensor([500, 200, 90, 41, 17, 6, 1])
LOSSES = {
    "focal": lambda z, y: focal(z, y, 0.5),
    "focal_weighted": lambda z, y: focal(z, y, 2.0, effective_number_weights(COUNTS)),
    "focal_detached": lambda z, y: focal(z, y, 0.5, detach=True),
    "sigmoid_focal": lambda z, y: sigmoid_focal(z, y, 0.5),
    "class_balanced": lambda z, y: class_balanced(z, y, COUNTS),
    "class_balanced_focal": lambda z, y: class_balanced(z, y, COUNTS, form="focal"),
    "balanced_binary": lambda z, y: balanced_binary(z, y, COUNTS, 0.1),
    "softmax_binary": lambda z, y: softmax_binary(z, y, effective_number_weights(COUNTS)),
    "equalization": lambda z, y: equalization(z, y, COUNTS, torch.zeros(z.shape), threshold=0.1),
    "lader": lambda z, y: lader(z, y, COUNTS),
    "binary": lambda z, y: binary(z, one_vs_all_targets(y, z.shape)),
    "binary_focal": lambda z, y: binary(z, one_vs_all_targets(y, z.shape), gamma=0.5),
}


@pytest.mark.oracle("focal", variants=["softmax"])
def test_focal(oracle):
    hparams, weights = oracle.hparams, None
    if hparams.get("weight"):
        beta = float(hparams["weight"].split("beta=")[1].split(",")[0])
        weights = effective_number_weights(oracle["counts"], beta)
    detach = "detached" in hparams.get("note", "")
    check(oracle, lambda z, y: focal(z, y, hparams["gamma"], weights, detach=detach))


@pytest.mark.oracle("focal", variants=["sigmoid"])
def test_sigmoid_focal(oracle):
    check(oracle, lambda z, y: sigmoid_focal(z, y, oracle.hparams["gamma"]))


@pytest.mark.oracle("class_balanced", variants=["tf", "port_focal"])
def test_class_balanced(oracle):
    """All but the port's "softmax", which is `softmax_binary`."""
    form, beta, gamma = (oracle.hparams[name] for name in ("loss_type", "beta", "gamma"))
    check(oracle, lambda z, y: class_balanced(z, y, oracle["counts"], beta, form, gamma))


@pytest.mark.oracle("softmax_eql", has=["loss"])
def test_equalization(oracle):
    gamma, share = oracle.hparams["gamma"], oracle.hparams["lambda_"]
    draws = oracle["rand_u"]
    check(oracle, lambda z, y: equalization(z, y, oracle["counts"], draws, gamma, share))


@pytest.mark.oracle("lade", variants=["prior_ce"])
def test_lade_cross_entropy(oracle):
    epsilon = oracle.hparams["eps"]
    check(oracle, lambda z, y: logit_adjustment(z, y, oracle["counts"], epsilon=epsilon))


@pytest.mark.oracle("lade", variants=["lader"])
def test_lader(oracle):
    check(oracle, lambda z, y: lader(z, y, oracle["counts"], oracle.hparams["remine_lambda"]))


@pytest.mark.oracle("lade", has=["pc_softmax_logits_first8"])
def test_post_compensation(oracle):
    """The authors' code subtracts the training prior; the target is uniform."""
    expected = oracle["pc_softmax_logits_first8"]
    ours = posthoc_adjustment(oracle["logits"][: len(expected)], oracle["counts"])
    torch.testing.assert_close(ours.log_softmax(1), expected.log_softmax(1), **EXACT)


@pytest.mark.oracle("uno_ic", has=["posterior_uniform_target"])
def test_prior_rebalancing(oracle):
    for name, target in (
        ("posterior_uniform_target", None),
        ("posterior_given_target", oracle["target_prior"]),
    ):
        for strength, expected in zip(oracle["hp_lambda_grid"].tolist(), oracle[name], strict=True):
            ours = prior_rebalancing(oracle["logits"], oracle["counts"], strength, target)
            torch.testing.assert_close(ours.softmax(1), expected, **EXACT)


@pytest.mark.parametrize("name", LOSSES)
def test_finite_at_large_logits_and_for_samples_without_loss(name, batch):
    logits, labels = 50 * batch[0].sign(), batch[1]
    logits[0], logits[0, labels[0]] = -200, 200  # a loss of exactly 0 in single precision
    logits = logits.float().requires_grad_()
    value = LOSSES[name](logits, labels)
    (gradient,) = torch.autograd.grad(value, logits)
    assert value.isfinite()
    assert gradient.isfinite().all()


@pytest.mark.parametrize("name", LOSSES)
def test_half_precision_logits_lose_no_more_than_their_own_rounding(name, batch):
    logits, labels = batch[0].bfloat16(), batch[1]
    with torch.autocast("cpu", torch.bfloat16):
        value = LOSSES[name](logits, labels)
    assert value.dtype == torch.float32
    torch.testing.assert_close(value, LOSSES[name](logits.float(), labels), rtol=1e-5, atol=0)


@pytest.mark.parametrize("detach", [True, False])
def test_focal_without_focus_is_cross_entropy(detach, batch):
    assert focal(*batch, gamma=0.0, detach=detach).equal(cross_entropy(*batch))


def test_sigmoid_focal_without_focus_is_binary_cross_entropy(batch):
    logits, labels = batch
    expected = F.binary_cross_entropy_with_logits(logits, F.one_hot(labels, 7).double())
    torch.testing.assert_close(sigmoid_focal(logits, labels, 0.0), 7 * expected)


def test_class_balanced_with_equal_counts_is_unweighted(batch):
    logits, labels = batch
    equal = torch.full((7,), 41)
    assert class_balanced(logits, labels, equal).equal(cross_entropy(logits, labels))
    assert class_balanced(logits, labels, equal, form="focal", gamma=2.0).equal(
        sigmoid_focal(logits, labels, 2.0)
    )


def test_equalization_spares_tail_classes_of_other_samples_only(batch):
    logits, labels = batch[0].requires_grad_(), batch[1]
    share = float(COUNTS[4] / COUNTS.sum().double())
    loss = equalization(logits, labels, COUNTS, torch.full((13, 7), 0.5), 0.6, share)
    (gradient,) = torch.autograd.grad(loss, logits)
    spared = (torch.arange(7) >= 4) & (labels.unsqueeze(1) != torch.arange(7))
    assert torch.equal(gradient == 0, spared)
    never = equalization(logits, labels, COUNTS, torch.full((13, 7), 0.7), 0.6, share)
    assert never.equal(cross_entropy(logits, labels))


def test_lader_of_uniform_logits_is_zero_up_to_its_epsilons():
    labels = torch.arange(7)
    assert abs(lader(torch.zeros(7, 7).double(), labels, torch.full((7,), 5)).item()) < 1e-8


@pytest.mark.parametrize("loss", [class_balanced, lader])
def test_a_class_without_images_is_named(loss, batch):
    with pytest.raises(ValueError, match="without training images: 2"):
        loss(*batch, torch.tensor([5, 1, 0, 1, 1, 1, 1]))
