"""Under which method a variant is listed."""

import pytest

from ltbench.analysis.result_set import VariantResult
from ltbench.config.grid import Variant
from ltbench.config.registry import load_registry
from ltbench.report.families import family_of, listed_method

METHODS = load_registry().methods


@pytest.mark.parametrize(
    ("method", "init", "listed", "family"),
    [
        ("softmax", None, "softmax", "baseline"),
        ("softmax", "ssp", "ssp", "augmentation"),
        ("softmax", "ssp+softmax", "ssp", "augmentation"),
        ("crt", "ssp+softmax", "ssp", "augmentation"),
        ("crt", "mixup+softmax", "crt", "module_improvement"),
        ("softmax", "mine", "mine", "own"),
        ("mine", None, "mine", "own"),
    ],
)
def test_softmax_is_listed_under_its_init_and_all_under_pre_training(method, init, listed, family):
    entry = VariantResult(Variant(label="X", method=method), (), (), init, {}, (), ())
    assert listed_method(entry, METHODS) == listed
    assert family_of(listed, METHODS).key == family
