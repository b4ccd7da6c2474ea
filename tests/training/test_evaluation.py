import pytest
import torch

from ltbench.training.divergence import DivergedError
from ltbench.training.evaluation import Evaluation

GROUPS = ("many", "many", "few")


def test_calibration_is_of_all_images_and_of_each_group_with_images():
    logits = torch.tensor([[3.0, 0, 0], [0, 2.0, 0], [0, 1.0, 0], [0, 0, 5.0]]).double()
    labels = torch.tensor([0, 1, 0, 2])
    device = torch.device("cpu")
    alone, whole = (
        Evaluation(3, torch.arange(3), device),
        Evaluation(3, torch.arange(3), device, GROUPS),
    )
    for evaluation in (alone, whole):
        evaluation.add(logits, labels)
    result = whole.result()
    assert alone.result().group_calibration is None
    assert result.repeats(alone.result())
    assert list(result.group_calibration) == ["many", "few"]
    for group, members in (("many", [0, 1, 2]), ("few", [3])):
        of_group = Evaluation(3, torch.arange(3), device)
        of_group.add(logits[members], labels[members])
        assert result.group_calibration[group] == of_group.result().calibration


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_predictions_that_are_not_finite_are_divergence(value):
    evaluation = Evaluation(3, torch.arange(3), torch.device("cpu"))
    evaluation.add(torch.eye(3), torch.arange(3))
    evaluation.add(torch.full((2, 3), value), torch.tensor([0, 1]))
    with pytest.raises(DivergedError, match=r"^the predictions of 2 "):
        evaluation.result()


def test_a_class_may_be_ruled_out():
    evaluation = Evaluation(3, torch.arange(3), torch.device("cpu"))
    evaluation.add(torch.tensor([[0.0, 1.0, -torch.inf]]), torch.tensor([1]))
    assert evaluation.result().hits == (0, 1, 0)
