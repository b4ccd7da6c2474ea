"""Small jobs on the digits, and how to run them."""

import json
from pathlib import Path

from ltbench.config.load import load_dataset, load_recipe
from ltbench.config.models import Job, Recipe
from ltbench.config.registry import load_registry
from ltbench.training.options import Options

REGISTRY = load_registry()
DIGITS = load_dataset("digits")


def recipe(**changes) -> Recipe:
    """Return a recipe: three epochs, GroupNorm, fp64; changed by `epochs` or fields."""
    values = json.loads(load_recipe("digits").model_dump_json())
    epochs = changes.pop("epochs", 3)
    for stage in ("stage1", "stage2"):
        values[stage] |= {"epochs": epochs, "deferred_from_epoch": None}
        values[stage]["schedule"] |= {"warmup": 1, "milestones": [epochs - 1] if epochs > 1 else []}
    values |= {"norm": "group", "precision": "fp64"} | changes
    return Recipe(**values)


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


def options(**changes) -> Options:
    return Options(**{"grid": "test", "checkpoint_every": 0.0} | changes)


def weights(run_dir, key) -> bytes:
    return Path(run_dir.job(key).weights).read_bytes()
