"""What steps of a job take here: real ones, on random images of its shape, without its data."""

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

FIRST = 8
"""Images of the first batch; it says how large the others may be."""

LONGEST = 2.0
"""Seconds that a batch may take; where the job's own takes longer, a part of it is timed."""

ENOUGH = 1.0
"""Seconds after which no further batch is timed."""


def measure(
    job: Job, device: torch.device, plugins: Sequence[str] = ()
) -> tuple[float | None, float]:
    """Return images a second of a job's training steps, None where it has none, and of its test.

    Reading and augmenting images is not part of it, nor is compilation.

    Args:
        job: of which only the costs of a step matter; its starts and teachers are not needed.
        device: where to measure.
        plugins: Python files with methods of the user's own.
    """
    torch.set_num_threads(1)  # as in the processes of jobs
    set_precision(job.recipe)
    method = _ready(job, device, plugins)
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

    def observed() -> None:
        with torch.inference_mode(), autocast(recipe, device):
            plain = batch(max(FIRST, len(method.counts)))
            plain.images = plain.images if plain.images.dim() == 4 else plain.images[0]
            method.update_statistics(plain)
            method.finalize_statistics()

    method.eval()
    if method.stage.needs_statistics_pass:
        observed()
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


def _ready(job: Job, device: torch.device, plugins: Sequence[str]) -> Method:
    """Return an untrained method at the beginning of a job's stage, teachers untrained like it."""
    plain = job.model_copy(update={"recipe": job.recipe.model_copy(update={"pretrained": None})})
    counts = torch.arange(job.dataset.classes, 0, -1) * 2
    method = build_method(plain, counts, plugins)
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
    """Return what returns a training step on a batch of some size."""
    if job.stage_recipe is None:
        raise RuntimeError(f"stage {job.stage!r} does not train")
    stepper = Stepper(build_optimizer(job.stage_recipe.optimizer, method), Tensor.backward)
    backbone = frozen_backbone(method) if job.stage_recipe.cached_features else None

    def prepared(size: int) -> Callable[[], None]:
        one = batch(size)
        if backbone is not None:
            with torch.no_grad(), autocast(job.recipe, device):
                one = replace(one, images=backbone(one.images))
        names = method.samplers()
        given = one if len(names) == 1 else dict.fromkeys(names, one)

        def step() -> None:
            with autocast(job.recipe, device):
                loss = method.training_loss(given)
            stepper.step(loss)

        return step

    return prepared


def _rate(prepared: Callable[[int], Callable[[], None]], batch: int, device: torch.device) -> float:
    """Return images a second of what is done with batches, of the job's own size if that is quick.

    The first one warms up.
    """
    size = min(batch, FIRST)
    once = prepared(size)
    once()
    seconds = _timed(once, device)
    size = max(size, min(batch, int(size * LONGEST / seconds)))
    do, done, spent = prepared(size), 0, 0.0
    while spent < ENOUGH:
        spent += _timed(do, device)
        done += size
    return done / spent


def _timed(do: Callable[[], None], device: torch.device) -> float:
    began = time.perf_counter()
    do()
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter() - began
