"""Speed and arithmetic of a job's steps, measured on random images."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from ltbench.config.job import Job
from ltbench.config.recipe import Recipe, StageRecipe
from ltbench.core.batch import Batch
from ltbench.core.rng import GlobalBatchRNG
from ltbench.core.seeding import make_generator
from ltbench.core.stepping import Stepper
from ltbench.data.batch_maker import DTYPES
from ltbench.methods.contract import Method, Progress
from ltbench.methods.plugins import find_method
from ltbench.methods.step_input import step_input
from ltbench.training.build import build_method, untrained_teacher
from ltbench.training.module import frozen_backbone
from ltbench.training.precision import autocast, set_precision
from ltbench.training.schedule import build_optimizer

Step = Callable[[], None]
MakeStep = Callable[[int], Step]

PROBE = 8
"""Images of the first batch, whose time bounds the size of the others."""

COUNTED = 2
"""Images of a batch whose operations are counted; doubled for methods that need more."""

SMALL = 32
"""Side of the images that statistics are computed of, as those of all classes are many."""

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
    train, test = _steps(job, device, plugins)
    on_gpu = device.type == "cuda"
    return (
        None if train is None else _rate(train, job.recipe.batch_size, device),
        _rate(test, job.recipe.test_batch_size(on_gpu=on_gpu), device),
    )


def count_flops(job: Job, plugins: Sequence[str] = ()) -> tuple[float | None, float]:
    """Count the operations of a job's training and test, per image.

    Multiplications and additions of convolutions and matrix products, backward, teachers and
    momentum copies included. Arguments are those of `measure`.

    Returns:
        Operations of a training step (None for a stage without training) and of the test.
    """
    recipe = job.recipe.model_copy(update={"precision": "fp32"})  # which needs no emulation
    train, test = _steps(job.model_copy(update={"recipe": recipe}), torch.device("cpu"), plugins)
    return None if train is None else _flops(train, recipe.batch_size), _flops(test, COUNTED)


def _flops(make_step: MakeStep, batch_size: int) -> float:
    size, step = _smallest_step(make_step, batch_size)
    with FlopCounterMode(display=False) as counter:
        step()
    return float(counter.get_total_flops()) / size


def _smallest_step(make_step: MakeStep, batch_size: int) -> tuple[int, Step]:
    """Return a step on few images, and their number.

    Methods that draw images in groups refuse batches without room for one.
    """
    size = COUNTED
    while True:
        try:
            return size, make_step(size)
        except ValueError:
            if size >= batch_size:
                raise
            size = min(2 * size, batch_size)


def _steps(
    job: Job, device: torch.device, plugins: Sequence[str]
) -> tuple[MakeStep | None, MakeStep]:
    """Return functions from batch sizes to training and test steps."""
    method, spec, recipe = _untrained_method(job, device, plugins), job.dataset, job.recipe
    generator = torch.Generator().manual_seed(0)

    def batch(size: int, side: int = spec.image_size) -> Batch:
        count = len(method.stage.views)
        views = (count,) if count > 1 else ()
        images = torch.randn(*views, size, spec.channels, side, side, generator=generator)
        images = images.to(device, DTYPES[recipe.precision])
        if recipe.channels_last and not views:
            images = images.to(memory_format=torch.channels_last)
        labels = torch.arange(size, device=device) % len(method.counts)
        return Batch(images, labels, torch.arange(size, device=device))

    method.eval()
    if method.stage.needs_statistics_pass and method.stage.is_trained:
        every_class = batch(max(PROBE, len(method.counts)), min(SMALL, spec.image_size))
        with torch.inference_mode(), autocast(recipe, device):
            method.update_statistics(_one_view(every_class))
            method.finalize_statistics()
    train = None
    if job.stage_recipe is not None:
        train = _training_steps(job.stage_recipe, recipe, method, device, batch)
    return train, _test_steps(recipe, method, device, batch)


def _one_view(batch: Batch) -> Batch:
    return batch if batch.images.dim() == 4 else replace(batch, images=batch.images[0])


def _training_steps(
    settings: StageRecipe,
    recipe: Recipe,
    method: Method,
    device: torch.device,
    batch: Callable[[int], Batch],
) -> MakeStep:
    stepper = Stepper(build_optimizer(settings.optimizer, method), Tensor.backward)

    def make_step(size: int) -> Step:
        method.train()
        images = batch(size)
        backbone = frozen_backbone(method) if settings.cached_features else None
        if backbone is not None:
            with torch.no_grad(), autocast(recipe, device):
                images = replace(images, images=backbone(images.images))
        inputs = step_input(method, images)

        def step() -> None:
            with autocast(recipe, device):
                loss = method.training_loss(inputs)
            stepper.step(loss)
            with torch.no_grad():
                method.on_step_end()

        return step

    return make_step


def _test_steps(
    recipe: Recipe, method: Method, device: torch.device, batch: Callable[[int], Batch]
) -> MakeStep:
    def make_step(size: int) -> Step:
        method.eval()
        images = _one_view(batch(size)).images

        def step() -> None:
            with torch.inference_mode(), autocast(recipe, device):
                method.predict(images)

        return step

    return make_step


def _untrained_method(job: Job, device: torch.device, plugins: Sequence[str]) -> Method:
    """Return a job's method, and its teachers, untrained."""
    recipe = job.recipe.model_copy(update={"pretrained": None})
    classes, paths = torch.arange(job.dataset.classes), [*map(Path, plugins)]
    counts = 2 * (len(classes) - classes)
    method = build_method(job.model_copy(update={"recipe": recipe}), counts, plugins)
    teachers = [
        untrained_teacher(method, teacher, find_method(teacher.method, paths)[0], classes)
        for teacher in method.own_teachers()
    ]
    if teachers:
        method.load_teachers(teachers)
    method.stage = method.stage_of(job.stage)
    method.on_stage_start(method.stage)
    method.rng = GlobalBatchRNG(make_generator(0, "method", 0))
    method.progress = Progress(0, 1, deferred=False)
    method.on_epoch_start(method.progress)
    memory = torch.channels_last if job.recipe.channels_last else torch.preserve_format
    return method.to(device, memory_format=memory)  # type: ignore[call-overload, no-any-return]


def _rate(make_step: MakeStep, batch_size: int, device: torch.device) -> float:
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


def _seconds(step: Step, device: torch.device) -> float:
    began = time.perf_counter()
    step()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
