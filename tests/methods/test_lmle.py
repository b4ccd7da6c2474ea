"""LMLE: rounds, clusters, quintuplets of a step, and centroids of the trained network."""

import pytest
import torch

from ltbench.core.batch import Batch
from ltbench.losses import quintuplet
from ltbench.methods.contract import EpochDraw, Progress
from ltbench.testing import steps
from ltbench.testing.jobs import Case

COUNTS = (12, 6, 3, 1)
LABELS = torch.arange(4).repeat_interleave(torch.tensor(COUNTS))
CASE = Case("lmle", {"smallest": 4, "width": 8})


def begin(case=CASE):
    """Return a method that has seen each of its 22 images."""
    method = steps.build(case, COUNTS).double()
    steps.start_stage(method.eval(), 0)
    steps.begin_epoch(method.eval())
    see(method)
    return method


def see(method):
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(22, 3, 8, 8, dtype=torch.float64, generator=generator)
    with torch.no_grad():
        for rows in torch.randperm(22, generator=generator).split(8):
            method.update_statistics(Batch(images[rows], LABELS[rows], rows))
        method.finalize_statistics()
        return method.network.features(images)


def test_clusters_have_a_bound_of_images():
    method = begin()
    assert method.clusters.tolist() == [3, 2, 1, 1]
    assert method.network.classifier.centroids.shape == (7, 8)
    assert steps.build(Case("lmle", {"relative_size": 1.0}), (400, 12, 5, 3)).clusters.tolist() == [
        4,
        1,
        1,
        1,
    ]


@pytest.mark.parametrize(
    ("epochs", "begins"), [(8, [0, 2, 4, 6]), (10, [0, 3, 5, 8]), (2, [0, 1]), (4, [0, 1, 2, 3])]
)
def test_rounds_are_equal_parts_of_the_epochs(epochs, begins):
    method = steps.build(CASE, COUNTS)
    found = []
    for epoch in range(epochs):
        method.progress = Progress(epoch, epochs, deferred=False)
        found += [epoch] if method.needs_statistics_now() else []
    assert found == begins


@pytest.mark.parametrize(("hparams", "lr"), [({}, 1.0), ({"lr": 0.1}, 0.1)])
def test_the_rate_is_that_of_the_recipe_or_lower(hparams, lr):
    method = steps.build(Case("lmle", CASE.hparams | hparams), COUNTS)
    assert {method.lr_scale(name) for name, _ in method.named_parameters()} == {lr}


def test_quintuplets_are_those_of_the_table():
    method = begin()
    draw = EpochDraw(LABELS, 0, 2, 16, 0)
    (rows,) = method.epoch_indices(draw).values()
    assert rows.shape == (1, 20)
    anchor, same, other, farthest, negative = rows.view(-1, 5).unbind(1)
    assert sorted(LABELS[anchor].tolist()) == [0, 1, 2, 3]
    for others in (same, other, farthest):
        assert LABELS[others].equal(LABELS[anchor])
    assert (LABELS[negative] != LABELS[anchor]).all()
    table = method.table[anchor]
    stands_in = torch.where(table >= 0, table, anchor[:, None])
    assert rows.view(-1, 5)[:, 1:].equal(stands_in)
    single = LABELS[anchor].tolist().index(3)
    assert table[single, :3].tolist() == [-1] * 3
    assert (method.table[LABELS < 2, 1] >= 0).all()
    assert (method.table[LABELS >= 2, 1] == -1).all()


def test_a_half_of_the_images_is_compared_with_and_another_in_the_next_round():
    method = begin()
    used = method.table[method.table >= 0].unique()
    assert len(used) <= 3 * 2 + 2 * 2 + 2 + 1  # of clusters of 4, 3, 3 and 1 images
    before = method.table.clone()
    steps.begin_epoch(method, 1)
    see(method.eval())
    assert not method.table.equal(before)


def test_a_step_has_the_hinges_of_its_quintuplets():
    method = begin().train()
    (rows,) = method.epoch_indices(EpochDraw(LABELS, 0, 2, 16, 0)).values()
    index = rows[0]
    images = torch.randn(
        20, 3, 8, 8, dtype=torch.float64, generator=torch.Generator().manual_seed(1)
    )
    found = method.training_loss(Batch(images, LABELS[index], index))
    embedded = method.network.features(images)
    torch.testing.assert_close(embedded.norm(dim=1), torch.ones(20, dtype=torch.float64))
    distances = torch.stack(
        [(embedded[i::5] - embedded[::5]).square().sum(1) for i in range(1, 5)], 1
    )
    known = method.table[index[::5]] >= 0
    expected = quintuplet(distances, LABELS[index[::5]], (0.1, 0.1, 0.2), known)
    assert list(found) == ["clusters", "classes", "others"]
    torch.testing.assert_close(tuple(found.values()), expected)
    weights = [p for p in method.parameters() if p.requires_grad]
    torch.testing.assert_close(
        torch.autograd.grad(sum(found.values()), weights, retain_graph=True),
        torch.autograd.grad(sum(expected), weights),
    )


def test_margins_are_those_of_the_hyper_parameters():
    values = {"cluster_margin": 3.0, "class_margin": 5.0, "other_margin": 7.0}
    plain, wide = (begin(Case("lmle", {**CASE.hparams, **each})) for each in ({}, values))
    batch = steps.training_batch(plain)
    index = torch.tensor([0, 1, 2, 3, 20])
    batch = Batch(batch.images[:5], LABELS[index], index)
    with torch.no_grad():
        near, far = plain.training_loss(batch), wide.training_loss(batch)
    assert all(far[term] > near[term] + 1 for term in near)
    assert far["others"] > far["classes"] > far["clusters"]


def test_single_clusters_have_the_third_hinge_alone():
    method = steps.begin(Case("lmle", {"smallest": 100}), counts=COUNTS)
    assert set(method.training_loss(steps.step_input(method, steps.training_batch(method)))) == {
        "others"
    }


def test_rows_that_are_no_quintuplets_are_refused():
    method = begin()
    with pytest.raises(ValueError, match="groups of 5 on each rank"):
        method.training_loss(steps.training_batch(method))


def test_centroids_are_anew_those_of_the_trained_network():
    method = begin()
    before = method.network.classifier.centroids.clone()
    with torch.no_grad():
        method.network.embed.weight.mul_(-1)
    table = method.table.clone()
    steps.start_stage(method, 1)
    features = see(method.eval())
    centroids = method.network.classifier.centroids
    assert not centroids.equal(before)
    assert method.table.equal(table)
    for k in (2, 3):  # of one cluster
        torch.testing.assert_close(centroids[k + 3], features[LABELS.eq(k)].mean(dim=0))
    torch.testing.assert_close(centroids[:3].mean(dim=0), features[LABELS.eq(0)].mean(dim=0))
