import pytest
import torch

from ltbench.training.divergence import DivergedError
from ltbench.training.evaluation import Evaluation

GROUPS = ("many", "many", "few")


def evaluation(known=(0, 1, 2), groups=GROUPS):
    return Evaluation(3, torch.tensor(known), torch.device("cpu"), groups)


def test_calibration_is_of_all_images_and_of_each_group_with_images():
    logits = torch.tensor([[3.0, 0, 0], [0, 2.0, 0], [0, 1.0, 0], [0, 0, 5.0]]).double()
    labels = torch.tensor([0, 1, 0, 2])
    whole = evaluation()
    whole.add(logits, labels)
    result = whole.result()
    assert list(result.group_calibration) == ["many", "few"]
    for group, members in (("many", [0, 1, 2]), ("few", [3])):
        of_group = evaluation()
        of_group.add(logits[members], labels[members])
        assert result.group_calibration[group] == of_group.result().calibration


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_predictions_that_are_not_finite_are_divergence(value):
    diverged = evaluation()
    diverged.add(torch.eye(3), torch.arange(3))
    diverged.add(torch.full((2, 3), value), torch.tensor([0, 1]))
    with pytest.raises(DivergedError, match=r"^the predictions of 2 "):
        diverged.result()


def test_a_class_may_have_probability_zero():
    certain = evaluation()
    certain.add(torch.tensor([[0.0, 1.0, -torch.inf]]), torch.tensor([1]))
    assert certain.result().hits == (0, 1, 0)


def test_scores_are_ranked_and_kept_for_a_result_alone():
    logits = torch.tensor([[3.0, 0, 0], [0, 2.0, 0], [0, 3.0, 0], [0, 0, 5.0]])
    labels = torch.tensor([0, 1, 0, 2])
    counted, ranked = evaluation(groups=()), evaluation()
    for each in (counted, ranked):
        each.add(logits[:3], labels[:3])
        each.add(logits[3:], labels[3:])
    assert not counted.scores
    result = ranked.result()
    assert counted.counts().hits == result.hits
    # The third image, of class 0, is below the second by class 0, and above it by class 1.
    assert result.auroc_pairs == (2 * 2 + 2, 2 * 2, 2 * 3)
    assert result.average_precision == (pytest.approx((1 + 2 / 3) / 2), 0.5, 1.0)
    assert result.confusion == ({0: 1, 1: 1}, {1: 1}, {2: 1})


def test_classes_without_a_logit_rank_all_images_equally():
    of_two = evaluation(known=(0, 2))
    of_two.add(torch.tensor([[1.0, 0], [0, 1.0], [0, 2.0]]), torch.tensor([0, 2, 1]))
    result = of_two.result()
    assert result.auroc_pairs == (2 * 2, 2, 2)
    assert result.average_precision == (1.0, pytest.approx((1 + 1 / 2 + 1 / 3) / 3), 0.5)
