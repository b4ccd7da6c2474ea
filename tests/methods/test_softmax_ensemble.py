"""Ensembles of softmax and of balanced softmax: their members and mean prediction."""

import pytest
import torch

from ltbench.methods import METHODS
from ltbench.methods.contract import TrainedTeacher
from ltbench.testing import steps
from ltbench.testing.jobs import Case

KEYS = ("softmax_ensemble", "balanced_softmax_ensemble")


@pytest.mark.parametrize("key", KEYS)
def test_the_prediction_is_the_mean_of_the_members_probabilities(key):
    ensemble = steps.finish(steps.begin(Case(key)))
    images = steps.evaluation_batch(ensemble).images
    with torch.inference_mode():
        members = [member.predict(images).softmax(dim=1) for member in ensemble.network.members]
        found = ensemble.predict(images).softmax(dim=1)
    assert len(members) == 3
    torch.testing.assert_close(found, torch.stack(members).mean(dim=0))
    assert not torch.equal(members[0], members[1])
    assert not torch.equal(members[1], members[2])


def test_members_that_are_equal_predict_as_one():
    one = steps.finish(steps.build(Case("softmax")))
    ensemble = steps.build(Case("softmax_ensemble"))
    ensemble.load_teachers([TrainedTeacher(one.state_dict(), torch.arange(4))] * 3)
    images = steps.evaluation_batch(one).images
    with torch.inference_mode():
        found = steps.finish(ensemble).predict(images)
        torch.testing.assert_close(found, one.predict(images).log_softmax(dim=1))


def test_the_mean_under_autocast_is_in_float32():
    ensemble = steps.finish(steps.begin(Case("softmax_ensemble")))
    images = steps.evaluation_batch(ensemble).images
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        members = [member.predict(images) for member in ensemble.network.members]
        found = ensemble.predict(images)
    assert {member.dtype for member in members} == {torch.bfloat16}
    mean = torch.stack(members).float().softmax(dim=2).mean(dim=0)
    torch.testing.assert_close(found, mean.log())


@pytest.mark.parametrize("key", KEYS)
def test_no_two_ensembles_share_a_member(key):
    taught = [
        [seed * member.seed_scale + member.seed_offset for member in METHODS[key].teachers]
        for seed in range(4)
    ]
    assert taught == [[0, 1, 2], [3, 4, 5], [6, 7, 8], [9, 10, 11]]


def test_large_logits_stay_finite():
    ensemble = steps.finish(steps.build(Case("softmax_ensemble")))
    images = steps.evaluation_batch(ensemble).images
    for member in ensemble.network.members:
        member.network.classifier.weight.data *= 1e5
    with torch.inference_mode():
        assert ensemble.predict(images).isfinite().all()
