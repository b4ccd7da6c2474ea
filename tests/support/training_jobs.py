"""Small jobs on the digits, and the words to run them."""

import json
from pathlib import Path

from ltbench.config.catalogue import load_catalogue
from ltbench.config.load import load_dataset, load_recipe
from ltbench.config.models import Job, Recipe
from ltbench.training.options import Options

CATALOGUE = load_catalogue()
DIGITS = load_dataset("digits")


def recipe(**changes) -> Recipe:
    """Three epochs on a GroupNorm network in fp64; `epochs` and fields of a recipe change it."""
    values = json.loads(load_recipe("digits").model_dump_json())
    epochs = changes.pop("epochs", 3)
    for stage in ("first", "second"):
        values[stage] |= {"epochs": epochs, "defer": None}
        values[stage]["schedule"] |= {"warmup": 1, "milestones": [epochs - 1] if epochs > 1 else []}
    values |= {"norm": "group", "precision": "fp64"} | changes
    return Recipe(**values)


def job(
    method="softmax",
    stage=None,
    seed=0,
    split="longtailed",
    start=(),
    hyper=None,
    subset="all",
    **changes,
) -> Job:
    info = CATALOGUE[method]
    declared = next(s for s in info.stages if stage in (None, s.name))
    settings = recipe(**changes)
    stage_recipe = settings.second if declared.second else settings.first
    return Job(
        label=info.title,
        recipe_name="test",
        dataset=DIGITS,
        split=split,
        method=method,
        version=info.version,
        stage=declared.name,
        hyper=info.check_hyper(hyper or {}),
        recipe=settings,
        stage_recipe=stage_recipe if declared.trains else None,
        seed=seed,
        start=tuple(start),
        subset=subset,
    )


def options(**changes) -> Options:
    return Options(**{"grid": "test", "checkpoint_every": 0.0} | changes)


def weights(workspace, key) -> bytes:
    return Path(workspace.job(key).weights).read_bytes()
