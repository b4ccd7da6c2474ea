from fractions import Fraction
from itertools import pairwise, permutations

import numpy as np
import pytest
import torch
from torchmetrics.functional.classification import (
    multiclass_auroc,
    multiclass_average_precision,
    multiclass_confusion_matrix,
)

from ltbench.metrics import confusion_rows, rank_class


def auroc(ranking, own):
    return Fraction(ranking.pairs, 2 * int(own.sum()) * int((~own).sum()))


@pytest.fixture(scope="module")
def scored():
    generator = np.random.default_rng(0)
    scores = generator.permutation(3000).reshape(600, 5).astype(np.float32) / 3000  # no ties
    return scores, generator.integers(5, size=600) % 4  # nothing is of class 4


def test_without_ties_rankings_are_those_of_torchmetrics(scored):
    scores, labels = scored
    given = (torch.from_numpy(scores), torch.from_numpy(labels), 5)
    areas = multiclass_auroc(*given, average=None)
    precisions = multiclass_average_precision(*given, average=None)
    for k in range(4):
        own = labels == k
        ranking = rank_class(scores[:, k], own)
        assert float(auroc(ranking, own)) == pytest.approx(float(areas[k]), rel=1e-6)
        assert ranking.average_precision == pytest.approx(float(precisions[k]), rel=1e-6)


def test_a_class_without_images_ranks_nothing(scored):
    scores, labels = scored
    ranking = rank_class(scores[:, 4], labels == 4)
    assert (ranking.pairs, ranking.average_precision) == (0, None)


def by_hand(scores, own):
    """Count pairs one by one; average precisions over all orders of ties."""
    pairs = sum(
        2 * (a > b) + (a == b)
        for a, mine in zip(scores, own, strict=True)
        for b, other in zip(scores, own, strict=True)
        if mine and not other
    )
    orders = [
        order
        for order in permutations(range(len(scores)))
        if all(scores[i] >= scores[j] for i, j in pairwise(order))
    ]
    total = Fraction(0)
    for order in orders:
        seen = 0
        for rank, i in enumerate(order, start=1):
            if own[i]:
                seen += 1
                total += Fraction(seen, rank)
    return pairs, total / len(orders) / sum(own)


@pytest.mark.parametrize("seed", range(12))
def test_ties_count_half_and_as_the_mean_over_their_orders(seed):
    generator = np.random.default_rng(seed)
    scores = generator.integers(3, size=7).astype(np.float32)
    own = generator.integers(2, size=7).astype(bool)
    own[0] = True
    ranking = rank_class(scores, own)
    pairs, precision = by_hand(scores.tolist(), own.tolist())
    assert ranking.pairs == pairs
    assert ranking.average_precision == pytest.approx(float(precision), rel=1e-15)


def test_rankings_do_not_depend_on_the_order_of_images(scored):
    scores, labels = scored
    column = np.round(scores[:, 0], 1)
    for seed in range(3):
        order = np.random.default_rng(seed).permutation(600)
        assert rank_class(column[order], (labels == 0)[order]) == rank_class(column, labels == 0)


def test_the_best_ranking_has_all_pairs_and_a_precision_of_one():
    own = np.array([True, True, False, False, False])
    ranking = rank_class(np.array([5, 4, 3, 2, 1], np.float32), own)
    assert (ranking.pairs, ranking.average_precision) == (2 * 2 * 3, 1.0)


def test_confusion_is_that_of_torchmetrics():
    generator = torch.Generator().manual_seed(0)
    predictions, labels = torch.randint(6, (2, 200), generator=generator)
    rows = confusion_rows(predictions, labels, 7)
    matrix = multiclass_confusion_matrix(predictions, labels, 7)
    assert [[row.get(k, 0) for k in range(7)] for row in rows] == matrix.tolist()
    assert all(list(row) == sorted(row) and 0 not in row.values() for row in rows)
