"""Means, moments and memories of each class's features."""

import pytest
import torch

from ltbench.networks.class_statistics import ClassMeans, ClassMemory, ClassMoments
from ltbench.testing.ranks import ranks
from tests.support.collectives import statistics

LABELS = torch.tensor([0, 2, 2, 1, 2, 0, 0, 2])


def rows(seed=0, width=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(len(LABELS), width, generator=generator, dtype=torch.float64)


def test_means_of_a_pass_are_those_of_all_batches():
    features = rows()
    means = ClassMeans(3)
    for part, labels in zip(features.split(3), LABELS.split(3), strict=True):
        means.add(part, labels)
    for k in range(3):
        torch.testing.assert_close(means.means()[k], features[LABELS.eq(k)].mean(dim=0))


def test_means_name_classes_without_features():
    with pytest.raises(ValueError, match="without features: 0, 1, 2, 3"):
        ClassMeans(4).means()


@pytest.mark.parametrize("full", [False, True])
def test_moments_are_those_of_all_features_so_far(full):
    moments = ClassMoments(4, 2, full=full)
    for seed in range(3):
        moments.update(rows(seed), LABELS)
    features, labels = torch.cat([rows(seed) for seed in range(3)]), LABELS.repeat(3)
    assert moments.seen.tolist() == [9, 3, 12, 0]
    for k in range(3):
        covariance = features[labels.eq(k)].T.cov(correction=0)
        torch.testing.assert_close(moments.mean[k], features[labels.eq(k)].mean(dim=0))
        expected = covariance if full else covariance.diagonal()
        torch.testing.assert_close(moments.variance[k], expected)
    assert not moments.mean[3].any()
    assert not moments.variance[3].any()


@pytest.mark.oracle("fasa", has=["update_feats"])
def test_running_moments_of_fasa(oracle):
    expected = oracle["running_mean_and_variance_after_each"]  # [T, 2, C, D]
    moments = ClassMoments(*expected.shape[2:], share=oracle.hparams["decay"])
    for step, features in enumerate(oracle["update_feats"]):
        moments.update(features, oracle["update_labels"][step].long())
        torch.testing.assert_close(moments.mean, expected[step, 0], rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(moments.variance, expected[step, 1], rtol=1e-12, atol=1e-14)


@pytest.mark.oracle("metasaug", has=["cov_batches_feats"])
def test_covariances_of_metasaug(oracle):
    expected = oracle["cov_after_batch"]  # [T, C, D, D]
    moments = ClassMoments(*expected.shape[1:3], full=True)
    for step, features in enumerate(oracle["cov_batches_feats"]):
        moments.update(features, oracle["cov_batches_labels"][step].long())
        torch.testing.assert_close(moments.variance, expected[step], rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(moments.mean, oracle["mean_after"], rtol=1e-12, atol=1e-14)
    assert moments.seen.equal(oracle["count_after"].long())


def test_a_class_that_is_not_in_a_batch_stays_as_it_is():
    moments = ClassMoments(3, 2, share=0.5)
    moments.update(rows(), LABELS)
    before = moments.mean[1].clone(), moments.variance[1].clone()
    others = LABELS != 1
    moments.update(rows(1)[others], LABELS[others])
    assert moments.mean[1].equal(before[0])
    assert moments.variance[1].equal(before[1])


def test_a_memory_keeps_the_latest_values_of_each_class():
    memory = ClassMemory(torch.tensor([2, 1, 3]), 1)
    memory.store(torch.arange(8.0)[:, None], LABELS)
    assert memory.seen.tolist() == [3, 1, 4]
    assert memory.filled.tolist() == [2, 1, 3]
    assert memory.values[:, 0].tolist() == [6, 5, 3, 7, 2, 4]
    memory.store(torch.tensor([[9.0], [8.0]]), torch.tensor([1, 0]))
    assert memory.values[:, 0].tolist() == [6, 8, 9, 7, 2, 4]


def test_values_are_drawn_from_what_is_stored():
    memory = ClassMemory(torch.tensor([4, 3]), 1)
    memory.store(torch.tensor([[5.0], [6.0], [7.0]]), torch.tensor([0, 1, 0]))
    numbers = torch.tensor([[0.0, 0.49, 0.5, 1 - 2**-24], [0.0, 0.3, 0.6, 0.9]])
    found = memory.draw(torch.tensor([0, 1]), numbers)
    assert found[..., 0].tolist() == [[5, 5, 7, 7], [6, 6, 6, 6]]


def test_variances_are_those_of_the_stored_values():
    memory = ClassMemory(torch.tensor([3, 2, 4, 2]), 1)
    memory.store(torch.tensor([[1.0], [5.0], [2.0], [6.0], [9.0]]), torch.tensor([0, 0, 2, 0, 0]))
    assert memory.variances()[:, 0].tolist() == [pytest.approx(13 / 3), 0, 0, 0]


@pytest.mark.parametrize("sizes", [(6, 6), (3, 9), (3, 3, 3, 3)], ids=str)
def test_ranks_have_the_statistics_of_one_process(sizes):
    assert ranks(len(sizes))(statistics, sizes) == [statistics([12])] * len(sizes)
