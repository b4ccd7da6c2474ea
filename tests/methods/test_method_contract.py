"""The same checks over every method, and what single methods promise beyond them."""

from pathlib import Path

import pytest
import torch

import ltbench.methods
from ltbench.classifiers import tau_normalized
from ltbench.core.batch import Batch
from ltbench.core.rng import GlobalBatchRNG
from ltbench.core.seeding import make_generator
from ltbench.core.stepping import total_loss
from ltbench.methods import METHODS
from ltbench.methods.contract import Method, Progress
from ltbench.networks import NetworkSpec

CLASSES = 4
COUNTS = torch.tensor([40, 12, 5, 1])
TRAINED = [key for key, method in METHODS.items() if method.stages[0].is_trained]
CONTINUED = [key for key, method in METHODS.items() if method.init_from == "softmax"]
FAMILIES = ("rebalancing", "augmentation", "module_improvement", "ensembles")


def spec(norm="group"):
    return NetworkSpec("resnet8", classes=CLASSES, channels=3, norm=norm)


def build(key, counts=COUNTS, norm="group", **hparams):
    torch.manual_seed(0)
    return METHODS[key](spec(norm), counts, METHODS[key].HParams(**hparams))


def batch(size=6):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(size, 3, 8, 8, generator=generator)
    labels = torch.arange(size) % CLASSES
    return Batch(images, labels, torch.arange(size))


def loss_of(method):
    """Return the loss of a batch as the stage has it: its views and samplers, the same draws."""
    one, stage = batch(), method.stage
    if stage.views > 1:
        views = [one.images.roll(view, dims=3) for view in range(stage.views)]
        one = Batch(torch.stack(views), one.labels, one.index)
    samplers = method.samplers()
    method.rng = GlobalBatchRNG(make_generator(0, "method", 0))
    return total_loss(
        method.training_loss(one if len(samplers) == 1 else dict.fromkeys(samplers, one))
    )


def ready(key, counts=COUNTS, norm="group", **hparams):
    """Return a method as the suite has it when a stage begins, from its default start."""
    method = build(key, counts, norm, **hparams)
    if method.init_from:
        torch.manual_seed(5)
        method.init_from_weights(METHODS[method.init_from](spec(norm), counts).state_dict())
    method.on_stage_start(method.stage)
    return method


def observed(method):
    if method.stage.needs_statistics_pass:
        with torch.inference_mode():
            method.update_statistics(batch())
            method.update_statistics(batch())
            method.finalize_statistics()
    return method


def gradients(method):
    loss = loss_of(method)
    loss.backward()
    return loss, {n: p.grad for n, p in method.named_parameters() if p.grad is not None}


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
    assert paper.arxiv in docstring
    assert str(paper.year) in docstring


@pytest.mark.parametrize("key", METHODS)
def test_what_a_method_knows_of_a_test_is_declared(key):
    method = observed(ready(key)).eval()
    if key == "uno_ic":
        method.strength.fill_(1.0)  # until it is chosen, on validation images, nothing is adjusted
    assert (type(method).adapt is not Method.adapt) == (method.test_time == "transductive")
    images, prior = batch().images, torch.tensor([0.6, 0.2, 0.1, 0.1])
    with torch.inference_mode():
        plain, told = method.predict(images), method.predict(images, prior)
    assert torch.equal(plain, told) == (method.test_time != "known_test_prior")


@pytest.mark.parametrize("key", TRAINED)
def test_a_step_moves_what_is_trained_and_lowers_the_loss(key):
    method = ready(key).train()
    state = {name: buffer.clone() for name, buffer in method.named_buffers()}
    loss, grads = gradients(method)
    trainable = {n for n, p in method.named_parameters() if p.requires_grad}
    assert loss.ndim == 0
    assert loss.isfinite()
    assert grads.keys() == trainable
    assert all(grad.isfinite().all() for grad in grads.values())
    with torch.no_grad():
        for name, parameter in method.named_parameters():
            if name in grads:
                parameter -= 1e-3 * grads[name]
        for name, buffer in method.named_buffers():  # queues and means have moved on
            buffer.copy_(state[name])
    assert loss_of(method) < loss


@pytest.mark.parametrize(
    "key", [k for k, m in METHODS.items() if not any(stage.is_trained for stage in m.stages)]
)
def test_an_untrained_stage_has_no_loss(key):
    with pytest.raises(NotImplementedError, match="no trained stage"):
        ready(key).training_loss(batch())


@pytest.mark.parametrize("key", METHODS)
def test_bad_counts_are_refused(key):
    with pytest.raises(ValueError, match="without training images: 2"):
        build(key, torch.tensor([4, 3, 0, 1]))
    with pytest.raises(ValueError, match="3 counts for 4 classes"):
        build(key, torch.tensor([4, 3, 1]))


@pytest.mark.parametrize("key", CONTINUED)
def test_a_start_gives_its_backbone(key):
    start = build("softmax").state_dict()
    torch.manual_seed(7)
    method = METHODS[key](spec(), COUNTS)
    method.init_from_weights(start)
    own = method.state_dict()
    assert all(own[n].equal(start[n]) for n in start if n.startswith("network.backbone."))


@pytest.mark.parametrize("key", CONTINUED)
def test_a_start_that_does_not_fit_is_refused_by_name(key):
    start = build("softmax").state_dict()
    weight = "network.backbone.conv1.weight"
    del start[weight]
    with pytest.raises(ValueError, match=f"{weight}: missing in the weights"):
        build(key).init_from_weights(start)
    start[weight] = torch.zeros(16, 1, 3, 3)
    with pytest.raises(
        ValueError, match=r"conv1.weight: \[16, 1, 3, 3\] in the weights, \[16, 3, 3, 3\]"
    ):
        build(key).init_from_weights(start)
    start = build("softmax").state_dict() | {"network.backbone.more": torch.zeros(1)}
    with pytest.raises(
        ValueError, match=r"network.backbone.more: \[1\] in the weights, missing in the network"
    ):
        build(key).init_from_weights(start)


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
    start = observed(ready("ncm")).state_dict()
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
            assert method.samplers() == (("class_balanced",) if resampled else ("instance",))
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
    images, train = batch().images, COUNTS / COUNTS.sum()
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
