import pytest

from ltbench.core.groups import class_groups


def test_shots_at_its_edges():
    assert class_groups([101, 100, 20, 19, 0], "shots") == (
        "many",
        "medium",
        "medium",
        "few",
        "few",
    )


@pytest.mark.parametrize(
    ("classes", "sizes"),
    [
        (2, (1, 0, 1)),
        (3, (1, 1, 1)),
        (4, (1, 2, 1)),
        (8, (3, 2, 3)),
        (10, (3, 4, 3)),
        (100, (33, 34, 33)),
    ],
)
def test_rank_thirds_sizes(classes, sizes):
    groups = class_groups(range(classes, 0, -1), "rank_thirds")
    assert tuple(groups.count(g) for g in ("many", "medium", "few")) == sizes
    assert list(groups) == sorted(groups, key=("many", "medium", "few").index)


def test_rank_thirds_follows_counts_not_positions_and_breaks_ties_by_index():
    assert class_groups([5, 9, 5, 1, 5, 7], "rank_thirds") == (
        "medium",
        "many",
        "medium",
        "few",
        "few",
        "many",
    )
