import pytest

from ltbench.core.types import Stage


@pytest.mark.parametrize("scale", [{"epochs_scale": 0.0}, {"lr_scale": -1.0}])
def test_a_stage_without_epochs_or_learning_rate_is_refused(scale):
    with pytest.raises(ValueError, match="'tune'"):
        Stage("tune", **scale)


@pytest.mark.parametrize("views", [2, (), "recipe", ("recipe", "strong")])
def test_views_must_have_kinds(views):
    with pytest.raises(ValueError, match="'train': views must be a tuple of recipe, distorted"):
        Stage("train", views=views)
    assert Stage("train", views=("recipe", "distorted")).views == ("recipe", "distorted")
