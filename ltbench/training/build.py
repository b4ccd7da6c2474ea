"""Build a job's method; imports no Lightning, so that predictions need none."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import torch

from ltbench.config.job import Job
from ltbench.config.registry import HPARAMS_FIELD
from ltbench.config.validation import validate
from ltbench.core.seeding import derive_seed
from ltbench.core.types import Teacher
from ltbench.methods.contract import Method, TrainedTeacher
from ltbench.methods.plugins import find_method
from ltbench.networks import NetworkSpec
from ltbench.training.pretrained import pretrained_weights


def build_method(
    job: Job, counts: torch.Tensor, plugins: Sequence[str] = (), data_root: str | None = None
) -> Method:
    """Return a job's method in its precision, initialized with the job's generator.

    Raises:
        KeyError: if neither METHODS nor a plugin has the method.
        DataError: if pretrained weights are missing, or not those of the recipe.
        ValueError: if they are of another network.
    """
    recipe = job.recipe
    weights = pretrained_weights(recipe, data_root)
    channels, pixels = job.dataset.channels, job.dataset.normalization
    spec = NetworkSpec(
        recipe.network, len(counts), channels, recipe.norm, weights, pixels.mean, pixels.std
    )
    kind, _ = find_method(job.method, map(Path, plugins))
    # The same for all methods, so that runs are paired.
    torch.manual_seed(derive_seed(job.seed, "init", job.stage))
    method = kind(spec, counts, validate(kind.HParams, job.hparams, HPARAMS_FIELD))
    return method.double() if recipe.precision == "fp64" else method


def untrained_teacher(
    student: Method, teacher: Teacher, kind: type[Method], classes: torch.Tensor
) -> TrainedTeacher:
    """Return a teacher of a method with random weights.

    Args:
        student: the method that it teaches.
        teacher: as the method declares it.
        kind: the teacher's method.
        classes: that it knows.
    """
    spec = replace(student.spec, classes=len(classes))
    hparams = kind.HParams(**teacher.hparams_for(student.hparams.model_dump()))
    return TrainedTeacher(kind(spec, student.counts[classes], hparams).state_dict(), classes)
