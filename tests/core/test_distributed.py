import pytest
import torch

from ltbench.core.distributed import global_mean
from ltbench.testing.ranks import RankError, ranks
from tests.support.collectives import (
    CLASSES,
    centroids_loss,
    evaluated,
    groups_loss,
    joined,
    losses_and_gradients,
    mean_and_gradient,
    summed,
)

SIZES = [(4, 4), (5, 2), (0, 7), (2, 2, 2, 2), (3, 0, 1, 4), (0, 0, 0, 5)]


@pytest.mark.parametrize("weighted", [False, True], ids=["plain", "weighted"])
@pytest.mark.parametrize("sizes", SIZES, ids=str)
def test_the_global_mean_is_that_of_one_process(sizes, weighted):
    mean, gradient = mean_and_gradient([sum(sizes)], weighted)
    answers = ranks(len(sizes))(mean_and_gradient, sizes, weighted)
    for value, averaged in answers:
        assert value == pytest.approx(mean, rel=1e-14)
        assert averaged == pytest.approx(gradient, rel=1e-13)
    assert all(answer == answers[0] for answer in answers)


def test_the_global_mean_of_one_process_is_a_mean():
    values, weights = torch.tensor([1.0, 2.0, 6.0]), torch.tensor([1, 0, 3])
    assert global_mean(values) == 3
    assert global_mean(values, weights) == 4.75


def test_weights_are_constants_of_the_gradient():
    values = torch.ones(2, requires_grad=True)
    weights = torch.tensor([1.0, 3.0], requires_grad=True)
    global_mean(values, weights).backward()
    assert weights.grad is None
    assert values.grad.tolist() == [0.25, 0.75]


@pytest.mark.parametrize("sizes", [*SIZES, (0, 0)], ids=str)
def test_gathering_joins_in_rank_order(sizes):
    expected = joined([sum(sizes)])
    assert ranks(len(sizes))(joined, sizes) == [expected] * len(sizes)


@pytest.mark.parametrize("world", [1, 2, 4])
def test_a_sum_over_ranks_has_no_gradient_and_leaves_its_argument(world):
    rows = torch.arange(2.0 * world).view(world, 2)
    answers = [summed(rows)] if world == 1 else ranks(world)(summed, rows)
    for row, (total, own, has_gradient) in zip(rows, answers, strict=True):
        assert total == rows.sum(0).tolist()
        assert own == row.tolist()
        assert not has_gradient


@pytest.mark.parametrize("far", [2.0, 3.0], ids=["repelled", "at rest"])
def test_ranks_agree_whether_centroids_repel_each_other(far):
    """One rank by itself is within the margin, the other beyond it."""
    generator = torch.Generator().manual_seed(0)
    features = torch.randn(4, 3, generator=generator, dtype=torch.float64)
    features[2:] += far
    centroids = torch.randn(CLASSES, 3, generator=generator, dtype=torch.float64)
    labels = torch.tensor([0, 1, 2, 3])
    loss, gradient = centroids_loss(features, labels, centroids)
    for value, averaged in ranks(2)(centroids_loss, features, labels, centroids):
        assert value == pytest.approx(loss, rel=1e-12)
        torch.testing.assert_close(torch.tensor(averaged), torch.tensor(gradient))


def test_ranks_draw_the_others_of_a_group_together():
    counted, values = groups_loss(16)
    assert counted == [6, 16]  # 4 and 12 samples of the groups, and half as many others if any
    for drawn, answer in ranks(2)(groups_loss, 16):
        assert drawn == counted
        assert answer == pytest.approx(values, rel=1e-12)


@pytest.mark.parametrize("sizes", [(3, 2), (0, 5)], ids=str)
def test_losses_take_the_empty_share_of_a_rank(sizes):
    alone = losses_and_gradients([sum(sizes)])
    for answer in ranks(2)(losses_and_gradients, sizes):
        for name, values in alone.items():
            assert answer[name] == pytest.approx(values, rel=1e-12)


@pytest.mark.parametrize("world", [2, 4])
def test_tests_of_any_size_give_the_same_result(world):
    sizes = range(1, 21)
    alone = evaluated(sizes)
    assert [sum(result.totals) for result in alone] == list(sizes)
    assert len({result.hits for result in alone}) > CLASSES
    assert len({result.auroc_pairs for result in alone}) > CLASSES
    assert ranks(world)(evaluated, sizes) == [alone] * world


def fail_on_rank_1(rows):
    summed(rows[:1])


def test_a_failing_rank_is_named_and_the_next_call_works():
    with pytest.raises(RankError, match=r"(?s)rank 1: .*IndexError"):
        ranks(2)(summed, torch.zeros(1, 2))
    assert ranks(2)(joined, (1, 0)) == [joined([1])] * 2
