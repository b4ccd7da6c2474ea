"""The passes that methods declare, against the arithmetic of real training steps."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from ltbench.core.batch import Batch
from ltbench.core.rng import GlobalBatchRNG
from ltbench.core.seeding import make_generator
from ltbench.core.stepping import total_loss
from ltbench.methods import METHODS
from ltbench.methods.contract import Progress, TrainedTeacher
from ltbench.methods.step_input import step_input
from ltbench.networks import NetworkSpec

COUNTS = torch.tensor([120, 110, 50, 40, 9, 5])
GROUPS = {"all": [0, 1, 2, 3, 4, 5], "many": [0, 1], "medium": [2, 3], "few": [4, 5]}
CASES = {key: (key, {}) for key in METHODS} | {
    "balms-held-out": ("balanced_meta_softmax", {"meta_images": "held_out"}),
    "hfl": ("hfl", {"groups": (1, 1)}),  # a small batch has images for one network
    "m2m-resampling": ("m2m", {"translations": False}),
    "ssp-moco": ("ssp", {"task": "moco", "queue": 40, "width": 8}),
    "kcl": ("kcl", {"queue": 40, "width": 8}),
    "tsc": ("tsc", {"queue": 40, "width": 8}),
}
STAGES = [
    pytest.param(key, hparams, stage.name, id=f"{case}-{stage.name}")
    for case, (key, hparams) in CASES.items()
    for stage in METHODS[key].stages
    if stage.is_trained
]
LABELS = torch.arange(8) % 6
LATE, SECOND = Progress(1, 2, deferred=True, lr=0.1), Progress(1, 2, deferred=False, lr=0.1)
OTHER = {
    ("m2m", "train"): (0.2, LATE),
    ("metasaug", "train"): (0.2, LATE),
    ("ftl", "transfer"): (0.5, SECOND),
}
"""Share of the epochs in which a step has other passes, and an epoch of them."""
STATISTICS = {("ftl", "transfer"): 0.5, ("dro_lt", "features"): 1.0}
"""Passes of an image in statistics passes after the first, by epoch."""
NETWORKS = {"hfl": 15}
"""Networks of a prediction by default, where the first stage has one."""


def build(key, subset="all", **hparams):
    classes = GROUPS[subset]
    kind, spec = METHODS[key], NetworkSpec("resnet32", len(classes))
    return kind(spec, COUNTS[classes], kind.HParams(**hparams))


def flops(work):
    """Return the arithmetic of a function, and its value."""
    with FlopCounterMode(display=False) as counter:
        value = work()
    return counter.get_total_flops(), value


def of_a_prediction(method):
    with torch.inference_mode():
        return flops(lambda: method.eval().predict(torch.zeros(1, 3, 32, 32)))[0]


def ready(key, hparams, name):
    """Return a method at the start of a stage, with its teachers."""
    method = build(key, **hparams)
    if method.init_from:
        method.init_from_weights(build(method.init_from).state_dict())
    teachers = [
        TrainedTeacher(
            build(teacher.method, teacher.subset, **teacher.hparams).state_dict(),
            torch.tensor(GROUPS[teacher.subset]),
        )
        for teacher in method.own_teachers()
    ]
    if teachers:
        method.load_teachers(teachers)
    method.stage = method.stage_of(name)
    method.on_stage_start(method.stage)
    if method.stage.needs_statistics_pass:
        with torch.inference_mode():
            method.eval().update_statistics(Batch(torch.randn(8, 3, 32, 32), LABELS, LABELS))
            method.finalize_statistics()
    method.train()
    method.progress = Progress(0, 2, deferred=False)
    method.rng = GlobalBatchRNG(make_generator(0, "method", 0))
    method.on_epoch_start(method.progress)
    return method


@pytest.mark.parametrize(("key", "hparams", "name"), STAGES)
def test_declared_passes_are_those_of_a_training_step(key, hparams, name):
    torch.manual_seed(0)
    method = ready(key, hparams, name)
    stage = method.stage
    images = torch.randn(len(stage.views), len(LABELS), 3, 32, 32).squeeze(0)
    step, names = step_input(method, Batch(images, LABELS, LABELS)), stage.samplers
    forward, loss = flops(lambda: total_loss(method.training_loss(step)))
    backward, _ = flops(loss.backward)
    if (key, name) in OTHER and not hparams:
        share, method.progress = OTHER[key, name]
        method.on_epoch_start(method.progress)
        other, loss = flops(lambda: total_loss(method.training_loss(step)))
        forward += share * (other - forward)
        backward += share * (flops(loss.backward)[0] - backward)
    unit = NETWORKS.get(key, 1) * of_a_prediction(build(key, **hparams))
    taught = (
        sum(of_a_prediction(build(t.method, **t.hparams)) for t in method.own_teachers()) / unit
    )
    drawn = len(LABELS) * len(names) * unit
    passes = stage.passes + stage.forward_passes - STATISTICS.get((key, name), 0)
    teachers = taught / len(names)
    assert forward / drawn == pytest.approx(passes + teachers, rel=0.06, abs=0.001)
    assert backward / drawn == pytest.approx(2 * stage.passes, rel=0.06, abs=0.001)


def test_a_stage_is_another_under_some_hyper_parameters():
    rotation, moco = build("ssp").stage, build("ssp", task="moco", queue=8).stage
    assert (rotation.views, rotation.forward_passes) == (("recipe",), 0)
    assert (moco.views, moco.forward_passes) == (("distorted", "distorted"), 1)
    assert rotation.resolve({"task": "moco"}) == moco
