"""FTL: transferred features, the penalty of logits, and what its epochs train."""

import pytest
import torch

from ltbench.core.batch import Batch
from ltbench.core.stepping import total_loss
from ltbench.losses import cross_entropy
from ltbench.methods import METHODS
from ltbench.methods.augmentation.ftl import axes_projection, logit_penalty, transferred
from ltbench.methods.contract import NetworkSpec, Progress
from ltbench.methods.step_input import example_draw
from ltbench.testing import steps
from ltbench.testing.jobs import Case

CASE = Case("ftl")
COUNTS = (60, 50, 40, 30, 8, 5)


def tensor(*rows):
    return torch.tensor(rows, dtype=torch.float64)


def test_a_transferred_feature():
    projected = torch.diag(tensor(1, 1, 0)[None][0])
    feature, source, target = tensor([1.2, 0.5, 0.9]), tensor([1, 1, 1]), tensor([0, 2, -1])
    found = transferred(feature, source, target, projected)
    torch.testing.assert_close(found, tensor([0.2, 1.5, -1.0]))
    whole, none = torch.eye(3).double(), torch.zeros(3, 3).double()
    torch.testing.assert_close(
        transferred(feature, source, target, whole), target + feature - source
    )
    assert transferred(feature, source, target, none).equal(target)


@pytest.mark.parametrize(("energy", "rank"), [(0, 0), (0.5, 1), (0.79, 1), (0.81, 2), (0.99, 3)])
def test_leading_axes_have_a_share_of_the_variance(energy, rank):
    basis = torch.linalg.qr(torch.randn(4, 4, generator=torch.Generator().manual_seed(0)).double())
    axes = basis.Q
    found = axes_projection(axes @ torch.diag(tensor(8, 1.5, 0.5, 0)) @ axes.T, energy)
    torch.testing.assert_close(found, axes[:, :rank] @ axes[:, :rank].T)
    torch.testing.assert_close(found @ found, found)


def test_no_variance_has_no_axes():
    assert not axes_projection(torch.zeros(3, 3), 0.95).any()


def test_the_penalty_and_the_loss_and_its_gradient():
    weight, feature = tensor([1, 0], [0, 1], [1, 1]), tensor([0.5, -1])
    method, label = steps.begin(Case("ftl", {"penalty": 0.25})), torch.tensor([0])
    logits = feature @ weight.T
    assert float(logit_penalty(logits)) == pytest.approx(1.5)
    losses = method.losses(logits, label)
    assert float(losses["classes"]) == pytest.approx(0.46436878, abs=5e-9)
    assert float(total_loss(losses)) == pytest.approx(0.83936878, abs=5e-9)
    logits = logits.requires_grad_()
    assert torch.autograd.gradcheck(lambda z: total_loss(method.losses(z, label)), (logits,))
    plain = steps.begin(Case("ftl", {"penalty": 0.0}))
    assert total_loss(plain.losses(logits, label)).equal(cross_entropy(logits, label))
    assert logit_penalty(torch.full((2, 3), 1e4)).isfinite()


def observed(mirrored=True):
    """Return a method after a pass, its images and their labels."""
    spec, kind = NetworkSpec("resnet8", len(COUNTS)), METHODS["ftl"]
    torch.manual_seed(3)
    method = kind(spec, torch.tensor(COUNTS), kind.HParams(mirrored=mirrored)).double()
    method.stage = method.stage_of("transfer")
    method.on_stage_start(method.stage)
    steps.begin_epoch(method)
    labels = torch.arange(6).repeat_interleave(torch.tensor(COUNTS))
    images = torch.randn(len(labels), 3, 8, 8, generator=torch.Generator().manual_seed(1)).double()
    images += labels[:, None, None, None]
    method.eval()
    index = torch.arange(len(labels))
    with torch.inference_mode():
        for rows in (slice(0, 100), slice(100, None)):
            method.update_statistics(Batch(images[rows], labels[rows], index[rows]))
        method.finalize_statistics()
    return method, images, labels


@pytest.mark.parametrize("mirrored", [True, False])
def test_centers_axes_and_far_images(mirrored):
    method, images, labels = observed(mirrored)
    with torch.no_grad():
        features, flipped = (method.network.features(x) for x in (images, images.flip(3)))
    whole = (features + flipped) / 2 if mirrored else features
    centers = torch.stack([whole[labels == k].mean(dim=0) for k in range(6)])
    torch.testing.assert_close(method.centers, centers)
    deviations = features - centers[labels]
    regular = labels < 4
    scatter = deviations[regular].T @ deviations[regular]
    torch.testing.assert_close(method.projected, axes_projection(scatter, 0.95))
    assert 0 < round(float(method.projected.trace())) < 64
    for k in range(6):
        distance = deviations[labels == k].norm(dim=1)
        expected = (distance > distance.mean()) & (k < 4)
        assert method.far[labels == k].equal(expected)
    assert method.far.any()


def test_turns_of_far_images_small_classes_and_the_far_ones_again():
    method, _, labels = observed()
    draw = example_draw(method.train(), 16)
    (index,) = method.epoch_indices(draw).values()
    assert index.shape == (len(labels) // 16, 16)
    far, rare, again = index[0::3], index[1::3], index[2::3]
    assert method.far[far].all()
    assert (labels[rare] >= 4).all()
    assert again.equal(far[: len(again)])
    assert len(far.unique()) == min(far.numel(), int(method.far.sum()))
    method.far.zero_()
    (index,) = method.epoch_indices(draw).values()
    assert (labels[index[0]] < 4).all()
    steps.begin_epoch(method, 1)
    assert [*method.epoch_indices(draw)] == ["instance"]


def test_each_third_step_is_of_transferred_features():
    method, images, labels = observed()
    rows = torch.arange(0, 96, 8)
    batch = Batch(images[rows], labels[rows], rows)
    method.train()
    for turn in range(6):
        method.rng.generator.manual_seed(7)
        found = method.training_loss(batch)["classes"]
        with torch.no_grad():
            features = method.network.features(batch.images)
        own = labels[rows]
        if turn % 3 == 2:
            method.rng.generator.manual_seed(7)
            own = 4 + (method.rng.uniform(own) * 2).long()
            deviations = features - method.centers[labels[rows]]
            features = method.centers[own] + deviations @ method.projected
            assert set(own.tolist()) == {4, 5}
        expected = cross_entropy(method.network.classifier(method.network.refine(features)), own)
        torch.testing.assert_close(found, expected)
    steps.begin_epoch(method, 2)
    assert method.turn == 0


@pytest.mark.parametrize("norm", ["batch", "group"])
def test_each_epoch_leaves_one_part_as_it_is(norm):
    method = steps.begin(CASE, stage=1, norm=norm)
    optimizer = torch.optim.SGD(method.parameters(), lr=0.1, momentum=0.9, weight_decay=0.1)
    for epoch in (0, 1, 2, 3):
        before = {name: value.clone() for name, value in method.state_dict().items()}
        steps.begin_epoch(method, epoch)
        for _ in range(3):
            optimizer.zero_grad()
            total_loss(method.training_loss(steps.training_batch(method))).backward()
            assert all(value.grad is not None for value in method.parameters())
            optimizer.step()
            with torch.no_grad():
                method.on_step_end()
        fixed = "network.backbone." if epoch % 2 == 0 else "network.classifier."
        after = method.state_dict()
        kept = {name for name in before if after[name].equal(before[name])} - {"turn"}
        assert kept == {name for name in before if name.startswith(fixed)}, epoch


@pytest.mark.parametrize("epochs", [6, 7])
def test_the_last_epoch_trains_on_all_images(epochs):
    method = steps.begin(CASE, stage=1)
    fixed = []
    for epoch in range(epochs):
        method.progress = Progress(epoch, epochs, deferred=False)
        fixed.append(method.fixes_encoder)
    assert fixed == [left % 2 == 0 for left in range(epochs, 0, -1)]
    assert not fixed[-1]


def test_a_fixed_classifier_gets_no_gradient():
    method = steps.begin(CASE, stage=1)
    loss = steps.loss_of(method, steps.training_batch(method), epoch=1)
    found = steps.gradients(method, loss)
    assert not found["network.classifier.weight"].any()
    assert found["network.refine.0.weight"].any()


def test_without_a_tail_epochs_have_ordinary_batches():
    method = steps.begin(CASE, stage=1, counts=(9, 9, 9, 9))
    batch = steps.training_batch(method)
    for epoch in range(2):
        for _ in range(3):
            loss = steps.loss_of(method, batch, epoch)
        assert [*method.epoch_indices(example_draw(method, 8))] == ["instance"]
        torch.testing.assert_close(
            loss,
            total_loss(method.losses(method.network(batch.images), batch.labels)),
        )


def test_pretraining_trains_all_with_the_loss():
    method = steps.begin(CASE)
    batch = steps.training_batch(method)
    logits = method.network(batch.images)
    loss = steps.loss_of(method, batch)
    assert loss.equal(total_loss(method.losses(logits, batch.labels)))
    assert all(value.any() for value in steps.gradients(method, loss).values())
