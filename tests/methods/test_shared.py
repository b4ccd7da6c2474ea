"""Parts that several methods share, on methods that have nothing else."""

import pytest
import torch

from ltbench.methods.contract import TrainedTeacher
from ltbench.methods.rebalancing.softmax import Softmax
from ltbench.methods.shared import OneTeacher
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
