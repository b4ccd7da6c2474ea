import pytest
import torch

from ltbench.training.build import build_method
from tests.support.training_jobs import job


@pytest.mark.parametrize(("precision", "dtype"), [("fp64", torch.float64), ("bf16", torch.float32)])
def test_a_method_has_the_precision_of_its_recipe(precision, dtype):
    method = build_method(job(precision=precision), torch.full((10,), 5))
    assert {parameter.dtype for parameter in method.parameters()} == {dtype}


def test_a_method_knows_the_normalization_of_its_images():
    one = job()
    spec = build_method(one, torch.full((10,), 5)).spec
    assert (spec.mean, spec.std) == (one.dataset.normalization.mean, one.dataset.normalization.std)
    assert len(spec.mean) == len(spec.std) == spec.channels
