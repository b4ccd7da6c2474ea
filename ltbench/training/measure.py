"""Speed of a job's steps on this machine, measured on random images."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor

from ltbench.config.models import Job
from ltbench.core.batch import Batch
from ltbench.core.rng import GlobalBatchRNG
from ltbench.core.seeding import make_generator
from ltbench.core.stepping import Stepper
from ltbench.data.batch_maker import DTYPES
from ltbench.methods.contract import Method, Progress, TrainedTeacher
from ltbench.methods.plugins import find_method
from ltbench.training.fit import build_method
from ltbench.training.module import frozen_backbone
from ltbench.training.precision import autocast, set_precision
from ltbench.training.schedule import build_optimizer

PROBE = 8
"""Images of the first batch, whose time bounds the size of the others."""

MAX_SECONDS = 2.0
"""Longest time of a batch; of a slower job a part of a batch is timed."""

TOTAL_SECONDS = 1.0
"""Total time after which no further batch is timed."""


def measure(
    job: Job, device: torch.device, plugins: Sequence[str] = ()
) -> tuple[float | None, float]:
    """Measure the images per second of a job's training and test.

    Loading and augmentation of images are not included, nor is compilation.

    Args:
        job: to measure; init weights and teachers need not exist.
        device: to measure on.
        plugins: Python files with the user's own methods.

    Returns:
        Images per second of training steps (None for a stage without training) and of the test.
    """
    torch.set_num_threads(1)  # as in the processes of jobs
    set_precision(job.recipe)
    method = _untrained_method(job, device, plugins)
    spec, recipe = job.dataset, job.recipe
    shape = (spec.channels, spec.image_size, spec.image_size)
    generator = torch.Generator().manual_seed(0)

    def batch(size: int) -> Batch:
        views = (method.stage.views,) if method.stage.views > 1 else ()
        images = torch.randn(*views, size, *shape, generator=generator)
        images = images.to(device, DTYPES[recipe.precision])
        if recipe.channels_last and not views:
            images = images.to(memory_format=torch.channels_last)
        labels = torch.arange(size, device=device) % len(method.counts)
        return Batch(images, labels, torch.arange(size, device=device))

    method.eval()
    if method.stage.needs_statistics_pass:
        with torch.inference_mode(), autocast(recipe, device):
            one_view = batch(max(PROBE, len(method.counts)))
            one_view.images = one_view.images if one_view.images.dim() == 4 else one_view.images[0]
            method.update_statistics(one_view)
            method.finalize_statistics()
    train = None
    if job.stage_recipe is not None:
        method.train()
        train = _rate(_steps(job, method, device, batch), recipe.batch_size, device)
        method.eval()

    def predict(size: int) -> None:
        images = batch(size).images
        with torch.inference_mode(), autocast(recipe, device):
            method.predict(images if images.dim() == 4 else images[0])

    return train, _rate(
        lambda size: lambda: predict(size),
        recipe.test_batch_size(on_gpu=device.type == "cuda"),
        device,
    )


def _untrained_method(job: Job, device: torch.device, plugins: Sequence[str]) -> Method:
    """Return a job's method, and its teachers, untrained."""
    recipe = job.recipe.model_copy(update={"pretrained": None})
    counts = torch.arange(job.dataset.classes, 0, -1) * 2
    method = build_method(job.model_copy(update={"recipe": recipe}), counts, plugins)
    if job.recipe.precision == "fp64":
        method.double()
    teachers = []
    for teacher in method.teachers:
        kind, _ = find_method(teacher.method, map(Path, plugins))
        state = kind(method.spec, counts, kind.HParams(**teacher.hparams)).state_dict()
        teachers.append(TrainedTeacher(state, torch.arange(len(counts))))
    if teachers:
        method.load_teachers(teachers)
    method.stage = method.stage_of(job.stage)
    method.on_stage_start(method.stage)
    method.rng = GlobalBatchRNG(make_generator(0, "method", 0))
    method.progress = Progress(0, 1, deferred=False)
    method.on_epoch_start(method.progress)
    memory = torch.channels_last if job.recipe.channels_last else torch.preserve_format
    return method.to(device, memory_format=memory)  # type: ignore[call-overload, no-any-return]


def _steps(
    job: Job, method: Method, device: torch.device, batch: Callable[[int], Batch]
) -> Callable[[int], Callable[[], None]]:
    """Return a function from batch sizes to training steps."""
    if job.stage_recipe is None:
        raise RuntimeError(f"stage {job.stage!r} does not train")
    stepper = Stepper(build_optimizer(job.stage_recipe.optimizer, method), Tensor.backward)
    backbone = frozen_backbone(method) if job.stage_recipe.cached_features else None

    def make_step(size: int) -> Callable[[], None]:
        images = batch(size)
        if backbone is not None:
            with torch.no_grad(), autocast(job.recipe, device):
                images = replace(images, images=backbone(images.images))
        names = method.samplers()
        inputs = images if len(names) == 1 else dict.fromkeys(names, images)

        def step() -> None:
            with autocast(job.recipe, device):
                loss = method.training_loss(inputs)
            stepper.step(loss)

        return step

    return make_step


def _rate(
    make_step: Callable[[int], Callable[[], None]], batch_size: int, device: torch.device
) -> float:
    """Measure the images per second of steps, after one to warm up.

    Args:
        make_step: returns a step on a batch of a size.
        batch_size: of the job; reduced if a step would take too long.
        device: of the steps.
    """
    size = min(batch_size, PROBE)
    probe = make_step(size)
    probe()
    seconds = _seconds(probe, device)
    size = max(size, min(batch_size, int(size * MAX_SECONDS / seconds)))
    step, images, spent = make_step(size), 0, 0.0
    while spent < TOTAL_SECONDS:
        spent += _seconds(step, device)
        images += size
    return images / spent


def _seconds(step: Callable[[], None], device: torch.device) -> float:
    began = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
