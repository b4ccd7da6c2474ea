"""Hooks of epochs and steps in real jobs, under all checks and by value."""

from dataclasses import replace

import pytest
import torch

from ltbench.samplers import EpochDraw
from ltbench.testing import parametrize_with_checks
from ltbench.testing.jobs import Bench, Case, after_each_epoch
from ltbench.testing.verdicts import case_of
from ltbench.training import fit
from ltbench.training.schedule import schedule_factor
from tests.testing.hook_methods import Features, Memory, Schedules


@parametrize_with_checks([Memory, Features, Schedules])
def test_methods_with_hooks_pass(method, check):
    check(method)


def trained(method, stage=-1):
    """Return the last job of a method's chain, its weights, and what each epoch had.

    That is the learning rate by `Progress`, and those of the optimizer's groups with their decay.
    """
    case = case_of(method)
    bench, epochs = Bench(plugins=case.plugins), []
    jobs = case.jobs(stage)

    def look(module):
        groups = {(g["lr"], g["weight_decay"]) for g in module.optimizer.param_groups}
        epochs.append((module.method.progress.lr, groups))

    for job in jobs[:-1]:
        bench.train([job])
    with after_each_epoch(look):
        fit.run_job(jobs[-1], bench.run_dir, bench.options)
    return jobs[-1], bench.state(jobs[-1]), epochs


def test_rates_and_weight_decay_by_epoch_and_parameter():
    job, _, epochs = trained(Schedules, 0)
    settings, recipe = job.stage_recipe, job.stage_recipe.optimizer
    assert recipe.weight_decay > 0
    for epoch, multiplier in enumerate((1.0, 0.5)):
        lr = recipe.lr * schedule_factor(settings.schedule, epoch + 1, settings.epochs)
        progress_lr, groups = epochs[epoch]
        assert progress_lr == pytest.approx(lr)
        decays = (0.0, recipe.weight_decay)
        assert sorted(groups) == [pytest.approx((lr * multiplier, decay)) for decay in decays]


def test_progress_has_the_rates_of_the_optimizer_by_parameter():
    bench, (job,), found = Bench(), Case("softmax").jobs(epochs=1), {}
    optimizer = job.stage_recipe.optimizer.model_copy(update={"backbone_lr": 0.02})
    settings = job.stage_recipe.model_copy(update={"optimizer": optimizer})

    def look(module):
        rates = {p: group["lr"] for group in module.optimizer.param_groups for p in group["params"]}
        for name, parameter in module.method.network.named_parameters():
            found[name] = rates[parameter], module.method.progress.lr_of(name)

    with after_each_epoch(look):
        fit.run_job(job.model_copy(update={"stage_recipe": settings}), bench.run_dir, bench.options)
    assert len({rate for rate, _ in found.values()}) == 2
    for rate, said in found.values():
        assert said == pytest.approx(rate)


def test_a_scaled_stage_has_fewer_epochs_and_a_lower_rate():
    case = case_of(Schedules)
    first, second = (case.jobs(stage)[-1] for stage in (0, 1))
    assert (first.stage_recipe.epochs, second.stage_recipe.epochs) == (2, 1)
    assert second.stage_recipe.optimizer.lr == pytest.approx(0.1 * first.stage_recipe.optimizer.lr)
    _, state, epochs = trained(Schedules)
    assert len(epochs) == 1
    assert int(state["epochs"]) == 3  # of both stages


def test_a_bound_on_weights_holds_after_every_step():
    _, state, _ = trained(Schedules, 0)
    norms = state["network.classifier.weight"].norm(dim=1)
    assert norms.max() <= Schedules.bound + 1e-9
    assert not state["mean"].equal(state["network.classifier.weight"])


def test_a_memory_has_the_images_that_were_new():
    job, state, _ = trained(Memory)
    labels = torch.zeros(len(state["seen"]), dtype=torch.int64)
    draw = EpochDraw(labels, 0, job.stage_recipe.epochs, job.recipe.batch_size, job.seed)
    new = draw.sampler("instance")[:, : draw.batch // 2].flatten()
    assert int(state["epoch"]) == 1
    assert state["seen"].nonzero().flatten().equal(new.sort().values)
    later = replace(draw, epoch=1).sampler("instance")[:, : draw.batch // 2].flatten()
    assert not state["seen"][later].all()
