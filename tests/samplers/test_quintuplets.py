"""Clusters of equal size, halves of groups, and mined quintuplets."""

import pytest
import torch
import torch.nn.functional as F

from ltbench.samplers import equal_clusters, half_of_each, mine_quintuplets


def normal(*shape):
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize(("rows", "clusters"), [(23, 4), (10, 10), (7, 1), (41, 6), (5, 3)])
def test_sizes_differ_by_one_at_most(rows, clusters):
    found = equal_clusters(normal(rows, 3), clusters)
    sizes = torch.bincount(found, minlength=clusters)
    assert int(sizes.max() - sizes.min()) <= 1
    assert len(sizes) == clusters
    assert equal_clusters(normal(rows, 3), clusters).equal(found)


def test_separate_groups_of_equal_size_are_found():
    centers = torch.tensor([[0.0, 0.0], [9.0, 0.0], [0.0, 9.0], [9.0, 9.0]])
    owner = torch.arange(24) % 4
    found = equal_clusters(centers[owner] + normal(24, 2) / 10, 4)
    assert [len(found[owner == k].unique()) for k in range(4)] == [1] * 4
    assert len(found.unique()) == 4


def test_equal_rows_are_clustered():
    assert torch.bincount(equal_clusters(torch.ones(9, 2), 3)).tolist() == [3, 3, 3]


def test_more_clusters_than_rows_are_refused():
    with pytest.raises(ValueError, match="clusters: expected 1 to 3"):
        equal_clusters(normal(3, 2), 4)


def test_a_half_of_each_group_is_taken_by_the_smallest_numbers():
    groups = torch.tensor([1, 0, 1, 0, 0, 2, 1])
    uniform = torch.tensor([0.9, 0.8, 0.1, 0.2, 0.3, 0.7, 0.5])
    assert half_of_each(groups, uniform).tolist() == [2, 3, 4, 5, 6]


def by_hand(features, labels, clusters, candidates, i):
    """Return the quintuplet of a row, candidate by candidate."""
    distances = {j: float((features[i] - features[j]).square().sum()) for j in candidates}
    own = [j for j in candidates if labels[j] == labels[i]]
    same = [j for j in own if clusters[j] == clusters[i] and j != i]
    other = [j for j in own if clusters[j] != clusters[i]]
    farthest = [j for j in own if j != i]
    negative = [j for j in candidates if labels[j] != labels[i]]
    picks = (max, same), (min, other), (max, farthest), (min, negative)
    return [pick(rows, key=distances.get) if rows else -1 for pick, rows in picks]


@pytest.mark.parametrize("taken", [range(30), range(0, 30, 2)])
def test_quintuplets_row_by_row(taken):
    features = F.normalize(normal(30, 4))
    labels = torch.tensor([0] * 16 + [1] * 9 + [2] * 4 + [3])
    clusters = torch.tensor([0, 1] * 8 + [2, 2, 3] * 3 + [4] * 4 + [5])
    found = mine_quintuplets(features, labels, clusters, torch.tensor([*taken]))
    for i in range(30):
        assert found[i].tolist() == by_hand(features, labels, clusters, taken, i)
    assert found[29, :3].tolist() == [-1, -1, -1]
    assert found[25, 1] == -1
    turned, _ = torch.linalg.qr(normal(4, 4))
    again = mine_quintuplets(features @ turned, labels, clusters, torch.tensor([*taken]))
    assert again.equal(found)
