"""Trees of classes: which groups linkage makes, and the paths through them."""

import pytest
import torch

from ltbench.core.tree import average_linkage, group_sizes, taxonomy_groups, tree_of

LINE = torch.tensor([0.0, 10.0, 1.0, 11.5, 30.0, 2.5], dtype=torch.float64)
NEAR = -(LINE - LINE[:, None]).abs()
"""Similarities of points on a line: 0, 1 and 2.5 are near each other, 10 and 11.5, and 30 alone."""
SIZES = (2, 3)
GROUPS = torch.tensor([[0, 0, 0, 1, 1], [0, 0, 1, 2, 2]])
"""Classes 0 and 1, then 2, and 3 and 4: the second group of the first level stays whole."""


def test_average_linkage():
    found = average_linkage(NEAR, (1, 2, 3, 4, 6))
    assert found.tolist() == [
        [0, 0, 0, 0, 0, 0],
        [0, 0, 0, 0, 1, 0],
        [0, 1, 0, 1, 2, 0],
        [0, 1, 0, 1, 2, 3],
        [0, 1, 2, 3, 4, 5],
    ]


def test_linkage_is_of_the_mean_similarity():
    points = torch.tensor([0.0, 2.0, 4.1, 6.15, 9.0], dtype=torch.float64)
    near = -(points - points[:, None]).abs()
    expected = [0, 0, 1, 1, 2]  # means of merges: 2 and 2.05, then 9 is 3.875 from the second
    assert average_linkage(near, (3,))[0].tolist() == expected
    assert average_linkage(near, (2,))[0].tolist() == [0, 0, 1, 1, 1]


def test_another_order_of_classes_and_other_units_give_the_same_groups():
    torch.manual_seed(0)
    features = torch.randn(12, 3, dtype=torch.float64)
    near, order = features @ features.T, torch.randperm(12)
    groups = average_linkage(near, (3, 7))
    moved = average_linkage(5 * near[order][:, order] - 3, (3, 7))
    same, again = (g[:, :, None] == g[:, None] for g in (groups[:, order], moved))
    assert same.equal(again)
    assert [level.unique().tolist() for level in groups] == [[*range(3)], [*range(7)]]
    assert all(len(groups[0][groups[1] == g].unique()) == 1 for g in range(7))


@pytest.mark.parametrize(
    ("similarities", "sizes", "words"),
    [
        (NEAR[:3], SIZES, "similarities: expected shape"),
        (NEAR, (3, 2), "sizes: expected ascending numbers from 1 to 6"),
        (NEAR, (0, 2), "sizes: expected ascending"),
        (NEAR, (7,), "sizes: expected ascending"),
        (NEAR / 0, (2,), "expected finite"),
    ],
)
def test_bad_input(similarities, sizes, words):
    with pytest.raises(ValueError, match=words):
        average_linkage(similarities, sizes)


def test_numbers_of_groups_are_bounded_by_half_of_the_classes():
    assert group_sizes((4, 10), 100) == (4, 10)
    assert group_sizes((10, 4), 10) == (4, 5)
    assert group_sizes((4, 10), 3) == group_sizes((4, 10), 1) == (1, 1)
    assert group_sizes((), 5) == ()


def test_paths():
    tree = tree_of(GROUPS, SIZES)
    assert tree.nodes.tolist() == [[0] * 5, [1, 1, 1, 2, 2], [3, 3, 4, 5, 5]]
    assert tree.edges.tolist() == [[0, 0, 0, 1, 1], [2, 2, 3, 4, 4], [5, 6, 7, 8, 9]]
    assert tree.origins.tolist() == [0, 0, 1, 1, 2, 3, 3, 4, 5, 5]
    assert tree.decides.tolist() == [True, True, False, True, False, True]
    assert tree.first.tolist() == [0, 0, 3, 0, 2, 3]


def test_a_tree_without_groups_is_the_root():
    tree = tree_of(torch.zeros(0, 4, dtype=torch.int64), ())
    assert tree.nodes.tolist() == [[0] * 4]
    assert tree.edges.tolist() == [[0, 1, 2, 3]]
    assert tree.origins.tolist() == [0] * 4


@pytest.mark.parametrize("sizes", [(2, 3), (1, 1), (4, 5), ()])
def test_the_number_of_edges_does_not_depend_on_the_groups(sizes):
    classes = 10
    for seed in range(3):
        features = torch.randn(classes, 2, generator=torch.Generator().manual_seed(seed))
        tree = tree_of(average_linkage(features @ features.T, sizes), sizes)
        assert len(tree.origins) == sum(sizes) + classes
        assert len(tree.decides) == 1 + sum(sizes)
        assert torch.bincount(tree.origins, minlength=len(tree.decides)).gt(1).equal(tree.decides)
        assert tree.edges.unique().tolist() == [*range(sum(sizes) + classes)]


def test_empty_groups_have_no_classes():
    tree = tree_of(torch.zeros(2, 5, dtype=torch.int64), SIZES)
    assert tree.first.tolist() == [0, 0, 5, 0, 5, 5]
    assert tree.nodes[:, 0].tolist() == [0, 1, 3]


def test_groups_of_a_taxonomy_are_numbered_by_their_first_classes():
    found = taxonomy_groups(((7, 7, 3, 3, 7), (5, 4, 1, 0, 5)), 5)
    assert found.tolist() == [[0, 0, 1, 1, 0], [0, 1, 2, 3, 0]]


def test_a_taxonomy_that_does_not_fit_is_refused_with_all_faults():
    with pytest.raises(ValueError, match="level 2 has 3 classes, not 4") as error:
        taxonomy_groups(((0, 0, 1, 1), (0, 1, 1, 2), (0, 1, 2)), 4)
    assert "level 1 has a group with classes of several groups of level 0" in str(error.value)
