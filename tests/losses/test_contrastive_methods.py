"""Losses of KCL, TSC, BCL and GPaCo."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.losses import (
    balanced_contrast,
    draw_positives,
    k_positive,
    logit_adjustment,
    paco,
)
from ltbench.networks.class_targets import (
    assign_targets,
    crowding,
    moved_centroids,
    spread_points,
)

EXACT = {"rtol": 1e-8, "atol": 1e-10}


def compare(oracle, loss, inputs, name, gradients):
    """Compare a loss and its gradients with an oracle's."""
    torch.testing.assert_close(loss, oracle[name], **EXACT)
    for found, gradient in zip(torch.autograd.grad(loss, inputs), gradients, strict=True):
        rtol = 1e-5 if oracle.own[gradient].dtype == "float32" else 1e-8
        torch.testing.assert_close(found, oracle[gradient], rtol=rtol, atol=1e-9)


def unit_rows(oracle):
    q = oracle["q_raw"].clone().requires_grad_()
    return q, F.normalize(q), F.normalize(oracle["k_raw"]), F.normalize(oracle["queue_raw"])


@pytest.mark.oracle("kcl", has=["v1_loss"])
@pytest.mark.parametrize(
    ("form", "unused"), [("v1", "negative"), ("v1_allpos", "negative"), ("v2", "zero")]
)
def test_kcl(oracle, form, unused):
    q, queries, keys, queue = unit_rows(oracle)
    same = oracle["labels"][:, None] == oracle["queue_labels"]
    drawn = oracle[f"{form}_soft_labels"][:, 1:] > 0
    assert not (drawn & ~same).any()
    loss = k_positive(queries, keys, queue, same, drawn, oracle.hparams["T"], unused)
    compare(oracle, loss, [q], f"{form}_loss", [f"{form}_grad_q_raw"])


@pytest.mark.oracle("tsc", has=["tsc_loss"])
@pytest.mark.parametrize("kind", ["kcl", "tsc"])
def test_tsc(oracle, kind):
    h, labels = oracle.hparams, oracle["labels"].long()
    q, queries, keys, queue = unit_rows(oracle)
    same = labels[:, None] == oracle["queue_labels"]
    drawn = draw_positives(same, oracle[f"{kind}_uniform_draws"].T)
    targets = None
    if kind == "tsc":
        before = F.normalize(oracle["centroids_before_raw"])
        after = moved_centroids(before, queries.detach(), labels, h["centroid_momentum"])
        torch.testing.assert_close(after, oracle["centroids_after"], **EXACT)
        assigned = assign_targets(after, oracle["targets"])
        assert assigned.equal(oracle["assignment_class_to_target"].long())
        targets = oracle["targets"], assigned[labels], h["tw"]
    loss = k_positive(queries, keys, queue, same, drawn, h["T"], targets=targets)
    compare(oracle, loss, [q], f"{kind}_loss", [f"{kind}_grad_q_raw"])
    parts = oracle[f"{kind}_loss_class"] + oracle[f"{kind}_loss_target"]
    torch.testing.assert_close(loss, parts, **EXACT)


@pytest.mark.oracle("tsc", has=["uniform_loss"])
def test_crowding(oracle):
    x = oracle["uniform_x_raw"].requires_grad_()
    loss = crowding(F.normalize(x), oracle.hparams["uniform_t"])
    compare(oracle, loss, [x], "uniform_loss", ["uniform_grad_x_raw"])


@pytest.mark.oracle("bcl", has=["loss_bal_scl"])
def test_bcl(oracle):
    h, labels = oracle.hparams, oracle["labels"].long()
    raw = [oracle[f"{name}_raw"].clone().requires_grad_() for name in ("view1", "view2", "centers")]
    samples = torch.cat([F.normalize(values) for values in raw])
    classes, size = len(raw[2]), len(labels)
    loss = balanced_contrast(
        samples[: 2 * size] @ samples.T / h["temperature"],
        labels.repeat(2),
        torch.cat([labels, labels, torch.arange(classes)]),
        torch.arange(2 * size),
        classes,
    )
    gradients = [f"grad_{name}_raw" for name in ("view1", "view2", "centers")]
    logits = oracle["cls_logits"].requires_grad_()
    adjusted = logit_adjustment(logits, labels, oracle["counts"], h["tau"])
    total = h["alpha_ce"] * adjusted + h["beta_scl"] * loss
    torch.testing.assert_close(total, oracle["loss_total"], **EXACT)
    compare(oracle, loss, raw, "loss_bal_scl", gradients)
    compare(oracle, adjusted, [logits], "loss_logit_adjust", ["grad_cls_logits"])


@pytest.mark.oracle("gpaco", has=["loss"])
@pytest.mark.parametrize("prior", [True, False])
def test_gpaco(oracle, prior):
    """The loss without prior is that of logits which a uniform one is taken from."""
    h, labels = oracle.hparams, oracle["labels_q_k_queue"].long()
    logits, raw = oracle["sup_logits_q_k"].requires_grad_(), oracle["features_raw_q_k_queue"]
    views = raw[: len(logits)].clone().requires_grad_()
    anchors = F.normalize(views)
    contrast = torch.cat([anchors, F.normalize(raw[len(logits) :])])
    counts, shift = oracle["counts"], 0.0
    if not prior:
        counts = torch.ones_like(counts)
        shift = torch.tensor(1 / len(counts) + 1e-9, dtype=torch.float64).log()
    loss = paco(
        logits - shift,
        labels[: len(logits)],
        anchors @ contrast.T / h["temperature"],
        labels,
        torch.arange(len(logits)),
        counts,
        alpha=h["alpha"],
        beta=h["beta"],
        gamma=h["gamma"],
        smoothing=h["smooth"],
    )
    if prior:
        compare(oracle, loss, [views, logits], "loss", ["grad_raw_q_k", "grad_sup_logits"])
    else:
        torch.testing.assert_close(loss, oracle["loss_without_prior"], **EXACT)


def test_draws_are_of_the_class_without_replacement():
    generator = torch.Generator().manual_seed(0)
    same = torch.rand(50, 30, generator=generator) < torch.linspace(0, 0.9, 50)[:, None]
    drawn = draw_positives(same, torch.rand(50, 6, generator=generator))
    assert not (drawn & ~same).any()
    assert drawn.sum(dim=1).equal(same.sum(dim=1).minimum(torch.tensor(6)))
    edge = draw_positives(torch.ones(1, 4).bool(), torch.tensor([[0.0, 0.9999999]]))
    assert edge.tolist() == [[True, False, False, True]]


@pytest.mark.parametrize(("count", "width"), [(2, 1), (3, 2), (10, 9), (10, 128), (1, 3)])
def test_few_targets_are_a_simplex(count, width):
    points = spread_points(count, width, 1)
    assert points.shape == (count, width)
    cosines = points @ points.T
    expected = torch.full((count, count), -1 / max(count - 1, 1)).fill_diagonal_(1.0)
    if count > 1:
        torch.testing.assert_close(cosines, expected, rtol=0, atol=1e-5)


def test_many_targets_are_spread():
    torch.manual_seed(0)
    few, more = (crowding(spread_points(8, 3, steps)) for steps in (1, 400))
    assert more < few - 0.1


def test_equal_classes_are_weighted_as_one():
    """With one prototype and views a class the sums of denominators are means over classes."""
    generator = torch.Generator().manual_seed(0)
    similarities = torch.randn(2, 5, dtype=torch.float64, generator=generator)
    labels, contrast_labels = torch.tensor([0, 1]), torch.tensor([0, 1, 0, 1, 1])
    loss = balanced_contrast(similarities, labels, contrast_labels, torch.arange(2), 2)
    e = similarities.exp()
    first = (e[0, 2] + (e[0, 1] + e[0, 3] + e[0, 4]) / 3).log() - similarities[0, 2]
    denominator = (e[1, 0] + e[1, 2]) / 2 + (e[1, 3] + e[1, 4]) / 2
    second = denominator.log() - similarities[1, 3:].mean()
    torch.testing.assert_close(loss, (first + second) / 2)


@pytest.mark.parametrize("kind", ["kcl", "tsc", "bcl"])
def test_large_scores_are_finite(kind):
    generator = torch.Generator().manual_seed(0)
    rows = F.normalize(torch.randn(12, 4, generator=generator)).requires_grad_()
    if kind == "bcl":
        labels = torch.arange(12) % 3
        loss = balanced_contrast(1e4 * rows[:8] @ rows.T, labels[:8], labels, torch.arange(8), 3)
    else:
        same = torch.rand(4, 8, generator=generator) < 0.5
        drawn = draw_positives(same, torch.rand(4, 2, generator=generator))
        targets = (rows[:3].detach(), torch.tensor([0, 1, 2, 0]), 0.2) if kind == "tsc" else None
        keys = rows[8:].detach()
        queue = rows[:8].detach()
        loss = k_positive(rows[8:], keys.flip(0), queue, same, drawn, 1e-4, targets=targets)
    (gradient,) = torch.autograd.grad(loss, rows)
    assert loss.isfinite()
    assert gradient.isfinite().all()


def test_bad_input():
    rows, same = torch.eye(3), torch.ones(3, 3).bool()
    with pytest.raises(ValueError, match=r"^drawn: expected shape"):
        k_positive(rows, rows, rows, same, same[:2], 0.1)
    with pytest.raises(ValueError, match=r"^temperature: "):
        k_positive(rows, rows, rows, same, same, 0.0)
    with pytest.raises(ValueError, match=r"^numbers: expected shape"):
        draw_positives(same, torch.rand(2, 2))
    with pytest.raises(ValueError, match=r"^labels: 3 is not a class"):
        balanced_contrast(rows, torch.tensor([0, 1, 3]), torch.arange(3), torch.arange(3), 3)
