"""Parts that several methods share, on methods that have nothing else."""

import pytest
import torch

from ltbench.methods.contract import Batch, Stage, TrainedTeacher
from ltbench.methods.rebalancing.softmax import Softmax
from ltbench.methods.shared import FeatureMeans, OneTeacher
from ltbench.networks import NetworkSpec

COUNTS = torch.tensor([8, 4, 2])
SPEC = NetworkSpec("resnet8", len(COUNTS))


def test_a_teacher_is_loaded_and_frozen():
    method, trained = OneTeacher(SPEC, COUNTS), Softmax(SPEC, COUNTS)
    method.add_teacher(Softmax(SPEC, COUNTS))
    teacher = TrainedTeacher(trained.state_dict(), torch.arange(3))
    method.load_teachers([teacher])
    images = torch.randn(4, 3, 8, 8)
    assert method.train().teacher.predict(images).equal(trained.eval().predict(images))
    assert not any(parameter.requires_grad for parameter in method.teacher.parameters())
    assert {name.partition(".")[0] for name in method.state_dict()} == {"network", "teacher"}
    with pytest.raises(ValueError, match="too many values"):
        method.load_teachers([teacher, teacher])


def test_means_are_those_of_a_statistics_pass():
    method = FeatureMeans(SPEC, COUNTS)
    method.on_stage_start(Stage("train"))
    assert not hasattr(method, "means")
    method.on_stage_start(Stage("means", is_trained=False, needs_statistics_pass=True))
    images, labels = torch.randn(6, 3, 8, 8), torch.tensor([0, 1, 2, 0, 1, 0])
    with torch.no_grad():
        for rows in (slice(4), slice(4, 6)):
            method.eval().update_statistics(Batch(images[rows], labels[rows], labels[rows]))
        features = method.network.features(images).double()
    expected = torch.stack([features[labels == c].mean(dim=0) for c in range(3)])
    torch.testing.assert_close(method.means.means(), expected)
