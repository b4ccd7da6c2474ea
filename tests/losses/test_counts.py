"""The tail of class counts."""

import pytest
import torch

from ltbench.losses.counts import tail


@pytest.mark.parametrize(
    ("counts", "expected"),
    [
        ([500, 20, 19, 1], [2, 3]),  # fewer than 20 images
        ([1, 500, 19], [0, 2]),
        ([5000, 2000, 900, 400, 100, 50], [4, 5]),  # none is few: the smallest third
        ([9, 7, 5, 3, 2, 1], [4, 5]),  # all are few
        ([5000, 5000, 50, 50], [2, 3]),  # and the classes as large
        ([5000, 5000, 50, 20], [3]),
        ([30, 30, 30, 29], [3]),
        ([30, 20], [1]),
        ([30, 30, 30], []),
        ([3, 3, 3], []),
        ([1], []),
        ([40], []),
    ],
)
def test_the_tail(counts, expected):
    assert tail(torch.tensor(counts)).nonzero().flatten().tolist() == expected


def test_the_tail_moves_with_its_classes():
    counts = torch.tensor([90, 80, 70, 60, 50, 40, 30, 25, 22, 21])
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    assert tail(counts[order]).equal(tail(counts)[order])


def test_the_tail_of_no_counts():
    with pytest.raises(TypeError, match="counts: expected a tensor of integers"):
        tail(torch.tensor([0.5, 0.5]))
    with pytest.raises(ValueError, match="classes without training images: 1"):
        tail(torch.tensor([3, 0]))
