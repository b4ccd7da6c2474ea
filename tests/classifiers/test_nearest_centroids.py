"""The classifier by nearest centroids: its margin, and classes without one."""

import pytest
import torch

from ltbench.classifiers import NearestCentroids

CLUSTERS = torch.tensor([2, 1, 1])


def on_a_line(squares, nearest=20):
    """Return a classifier whose centroids have these squared distances from 0."""
    classifier = NearestCentroids(1, CLUSTERS, nearest)
    classifier.centroids.copy_(torch.tensor(squares).sqrt()[:, None])
    return classifier


def test_the_margin_of_the_formula():
    scores = on_a_line([0.2, 0.4, 0.5, 0.9], nearest=3)(torch.zeros(1, 1))
    torch.testing.assert_close(scores, torch.tensor([[0.1, -0.3, -4.9]]))


def test_a_single_class_among_the_nearest_is_the_prediction():
    scores = on_a_line([0.2, 0.4, 0.5, 0.9], nearest=2)(torch.zeros(1, 1))
    torch.testing.assert_close(scores, torch.tensor([[3.6, -4.5, -4.9]]))


def test_the_farthest_of_a_class_counts():
    scores = on_a_line([0.1, 0.8, 0.3, 0.9])(torch.zeros(1, 1))
    torch.testing.assert_close(scores, torch.tensor([[-0.5, -0.2, -0.8]]))
    assert int(scores.argmax()) == 1


def test_no_rows_and_half_precision():
    classifier = on_a_line([0.2, 0.4, 0.5, 0.9])
    assert classifier(torch.zeros(0, 1)).shape == (0, 3)
    assert classifier(torch.zeros(2, 1).bfloat16()).dtype == torch.float32


def test_bad_input():
    with pytest.raises(ValueError, match="nearest: expected at least 1"):
        NearestCentroids(1, CLUSTERS, 0)
    with pytest.raises(ValueError, match="clusters: expected at least 1"):
        NearestCentroids(1, torch.tensor([1, 0]))
    with pytest.raises(ValueError, match="features: expected shape"):
        on_a_line([0.2, 0.4, 0.5, 0.9])(torch.zeros(2, 2))
