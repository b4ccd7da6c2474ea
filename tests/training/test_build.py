import torch

from ltbench.training.build import build_method
from tests.support.training_jobs import job


def test_a_method_knows_the_normalization_of_its_images():
    one = job()
    spec = build_method(one, torch.full((10,), 5)).spec
    assert (spec.mean, spec.std) == (one.dataset.normalization.mean, one.dataset.normalization.std)
    assert len(spec.mean) == len(spec.std) == spec.channels
