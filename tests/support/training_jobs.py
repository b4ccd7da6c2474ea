"""Small jobs on the digits, and how to run them."""

from pathlib import Path

from ltbench.config.job import Job
from ltbench.testing.jobs import DIGITS, REGISTRY, options, recipe

__all__ = ["DIGITS", "REGISTRY", "job", "options", "recipe", "weights"]


def job(
    method="softmax",
    stage=None,
    seed=0,
    split="longtailed",
    depends_on=(),
    hparams=None,
    subset="all",
    **changes,
) -> Job:
    info = REGISTRY[method]
    declared = next(s for s in info.stages if stage in (None, s.name))
    settings = recipe(**changes)
    stage_recipe = getattr(settings, declared.recipe_stage)
    return Job(
        label=info.title,
        recipe_name="test",
        dataset=DIGITS,
        split=split,
        method=method,
        version=info.version,
        stage=declared.name,
        hparams=info.validate_hparams(hparams or {}),
        recipe=settings,
        stage_recipe=stage_recipe if declared.is_trained else None,
        seed=seed,
        depends_on=tuple(depends_on),
        subset=subset,
    )


def weights(run_dir, key) -> bytes:
    return Path(run_dir.job(key).weights).read_bytes()
