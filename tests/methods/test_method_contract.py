"""What single methods promise beyond the checks of every method (tests/contract)."""

from pathlib import Path

import pytest
import torch

import ltbench.methods
from ltbench.classifiers import tau_normalized
from ltbench.core.batch import Batch
from ltbench.core.stepping import total_loss
from ltbench.methods import METHODS
from ltbench.methods.contract import Progress
from ltbench.methods.step_input import example_draw
from ltbench.testing import steps
from ltbench.testing.jobs import Case

CLASSES = 4
FAMILIES = ("rebalancing", "augmentation", "module_improvement", "ensembles")


def build(key, **hparams):
    return steps.build(Case(key, hparams))


def ready(key, norm="group", **hparams):
    """Return a method as the suite has it when a stage begins, from its default start."""
    return steps.begin(Case(key, hparams), norm=norm)


def batch(size=6):
    images = torch.randn(size, 3, 8, 8, generator=torch.Generator().manual_seed(1))
    return Batch(images, torch.arange(size) % CLASSES, torch.arange(size))


def test_keys_are_file_names_and_every_file_is_listed():
    folder = Path(ltbench.methods.__file__).parent
    files = {
        path.relative_to(folder).with_suffix("").as_posix()
        for family in FAMILIES
        for path in (folder / family).glob("*.py")
        if path.stem != "__init__"
    }
    listed = {
        f"{method.__module__.removeprefix('ltbench.methods.').replace('.', '/')}"
        for method in METHODS.values()
    }
    assert listed == files
    for key, method in METHODS.items():
        assert method.__module__.endswith(f".{key}")


def test_titles_differ():
    assert len({method.title for method in METHODS.values()}) == len(METHODS)


@pytest.mark.parametrize("key", [key for key, method in METHODS.items() if method.paper])
def test_a_file_opens_with_the_paper(key):
    paper = METHODS[key].paper
    docstring = __import__(METHODS[key].__module__, fromlist=["_"]).__doc__
    assert (paper.arxiv or paper.title) in " ".join(docstring.split())
    assert str(paper.year) in docstring


def test_uno_ic_predicts_for_a_known_prior_once_a_strength_is_chosen():
    method = ready("uno_ic").eval()
    prior = torch.tensor([0.6, 0.2, 0.1, 0.1])
    for strength in (0.0, 1.0):
        method.strength.fill_(strength)
        same = method.predict(batch().images).equal(method.predict(batch().images, prior))
        assert same == (strength == 0.0)


@pytest.mark.parametrize("key", ["lws", "tau_norm"])
def test_a_start_without_bias_counts_as_zero_bias(key):
    start = build("ldam_drw").state_dict()
    method = build(key)
    method.network.classifier.bias.data.fill_(1.0)
    method.init_from_weights(start)
    assert method.network.classifier.weight.equal(start["network.classifier.weight"])
    assert not method.network.classifier.bias.any()


@pytest.mark.parametrize("key", ["lws", "tau_norm", "posthoc_logit_adjustment"])
def test_a_start_without_classifier_weights_is_refused(key):
    start = steps.finish(ready("ncm")).state_dict()
    with pytest.raises(ValueError, match=r"network\.classifier\.weight: missing in the weights"):
        build(key).init_from_weights(start)


def test_posthoc_refuses_a_start_that_is_no_linear_classifier():
    with pytest.raises(ValueError, match=r"network\.classifier\.bias: missing in the weights"):
        build("posthoc_logit_adjustment").init_from_weights(build("ldam_drw").state_dict())


@pytest.mark.parametrize("key", ["crt", "lws"])
def test_batchnorm_statistics_that_are_not_to_be_updated_do_not_move(key):
    method = ready(key, norm="batch", update_bn=False)
    before = {n: t.clone() for n, t in method.network.backbone.state_dict().items()}
    method.train()
    assert method.training
    method.training_loss(batch())
    after = method.network.backbone.state_dict()
    assert all(after[name].equal(before[name]) for name in before)
    assert not any(module.training for module in method.network.backbone.modules())


def test_crt_trains_a_new_classifier_only():
    start = build("softmax").state_dict()
    method = build("crt")
    method.init_from_weights(start)
    torch.manual_seed(11)
    method.on_stage_start(method.stage)
    weight = method.network.classifier.weight.detach().clone()
    trained = {n for n, p in method.named_parameters() if p.requires_grad}
    assert trained == {"network.classifier.weight", "network.classifier.bias"}
    assert not weight.equal(start["network.classifier.weight"])
    torch.manual_seed(11)
    method.on_stage_start(method.stage)
    assert method.network.classifier.weight.equal(weight)


def test_lws_trains_scales_only_and_begins_as_its_start():
    start = build("softmax")
    method = build("lws")
    method.init_from_weights(start.state_dict())
    method.on_stage_start(method.stage)
    trained = {n for n, p in method.named_parameters() if p.requires_grad}
    assert trained == {"network.classifier.scale"}
    assert method.predict(batch().images).equal(start.predict(batch().images))


def test_a_learned_tau_begins_at_the_trained_weights_and_moves_alone():
    start = build("softmax")
    method = build("tau_norm_learned")
    method.init_from_weights(start.state_dict())
    method.on_stage_start(method.stage)
    assert {n for n, p in method.named_parameters() if p.requires_grad} == {
        "network.classifier.tau"
    }
    torch.testing.assert_close(method.predict(batch().images), start.predict(batch().images))
    total_loss(method.training_loss(batch())).backward()
    assert method.network.classifier.tau.grad != 0


def test_tau_norm_rescales_weights_and_drops_the_bias():
    start = build("softmax").state_dict()
    start["network.classifier.bias"] += 1
    method = build("tau_norm", tau=0.5)
    method.init_from_weights(start)
    method.on_stage_start(method.stage)
    expected = tau_normalized(start["network.classifier.weight"], 0.5)
    assert method.network.classifier.weight.equal(expected)
    assert not method.network.classifier.bias.any()


def test_ncm_puts_an_image_nearest_to_its_own_class_when_it_is_the_class():
    method = ready("ncm")
    one_each = batch(CLASSES)
    with torch.inference_mode():
        method.update_statistics(one_each)
        method.finalize_statistics()
    assert method.predict(one_each.images).argmax(dim=1).equal(one_each.labels)


def test_ldam_switches_weights_or_sampling_late():
    late, early = Progress(4, 5, deferred=True), Progress(0, 5, deferred=False)
    losses = {}
    for deferred in ("none", "drw", "drs"):
        method = build("ldam_drw", deferred=deferred)
        for progress in (early, late):
            method.progress = progress
            losses[deferred, progress.deferred] = method.training_loss(batch()).item()
            resampled = deferred == "drs" and progress.deferred
            streams = method.epoch_indices(example_draw(method, len(batch())))
            assert [*streams] == ["class_balanced" if resampled else "instance"]
    plain = losses["none", False]
    assert losses["drw", True] != plain
    assert all(value == plain for switch, value in losses.items() if switch != ("drw", True))


def test_ldam_predicts_scaled_cosines():
    method = build("ldam_drw", scale=20.0)
    cosines = method.network(batch().images)
    assert cosines.abs().max() <= 1 + 1e-6
    assert method.predict(batch().images).equal(20 * cosines)


def test_posthoc_moves_to_a_known_test_prior():
    method = ready("posthoc_logit_adjustment")
    images, train = batch().images, method.counts / method.counts.sum()
    network = method.network(images).softmax(dim=1)
    known = method.predict(images, target_prior=train).softmax(dim=1)
    torch.testing.assert_close(known, network)  # the same prior: nothing to correct
    uniform = torch.full((CLASSES,), 1 / CLASSES)
    torch.testing.assert_close(
        method.predict(images, target_prior=uniform).softmax(dim=1),
        method.predict(images).softmax(dim=1),
    )


def test_weighted_softmax_has_two_weights():
    losses = {
        w: build("weighted_softmax", weights=w).training_loss(batch()).item()
        for w in ("survey", "inverse")
    }
    plain = build("softmax").training_loss(batch()).item()
    assert len({*losses.values(), plain}) == 3
