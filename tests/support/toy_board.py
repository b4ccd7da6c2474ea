"""A toy board for tables: six classes, plans and handmade records."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

import numpy as np

from ltbench.config.dataset import DatasetSpec
from ltbench.config.errors import Location
from ltbench.config.grid import Grid
from ltbench.config.hparams import HParamResolver
from ltbench.config.planning import expand
from ltbench.config.recipe import Recipe
from ltbench.config.registry import MethodInfo, MethodRegistry
from ltbench.config.rules import MethodRules
from ltbench.core.types import NetworkCost, Paper, Stage
from ltbench.runs.store import Stored, record_path
from tests.support import made_records

STAGE = {
    "epochs": 3,
    "optimizer": {"lr": 0.1},
    "schedule": {"kind": "constant"},
}
TRAIN = Stage("train")
CLASSIFIER = Stage("classifier", recipe_stage="stage2")
STATISTICS = Stage("statistics", is_trained=False, needs_statistics_pass=True)
ADJUST = Stage("adjust", is_trained=False)


def dataset(**changes):
    values = {
        "name": "toy",
        "title": "Toy",
        "source": "digits",
        "classes": 6,
        "image_size": 8,
        "normalization": {"mean": (0.5,) * 3, "std": (0.5,) * 3},
        "imbalance_type": "exponential",
        "imbalance_ratio": 40,
        "shot_rule": "shots",
        **changes,
    }
    if values["source"] == "digits":
        values.setdefault("test_per_class", 8)
    return DatasetSpec(**values)


def recipe(**changes):
    values = {
        "name": "short",
        "title": "Short",
        "network": "resnet8",
        "batch_size": 32,
        "stage1": STAGE,
        "stage2": STAGE,
    }
    return Recipe(**{**values, **changes})


TOY, SHORT = dataset(), recipe()


def plan(
    variants,
    *,
    seeds=(0, 1),
    splits=("longtailed", "balanced"),
    dataset=TOY,
    recipe=SHORT,
    name="toy_grid",
    methods: Mapping[str, MethodInfo] = {},
    versions: Mapping[str, int] = {},
    overrides=(),
):
    """Plan a grid of one dataset and one recipe.

    A variant's own recipe is that of the plan in bf16. Methods that are neither of the toy world
    nor given are baselines, whose hyper-parameters are those that a variant sets.
    """
    grid = Grid(
        name=name,
        title="A toy grid",
        datasets=(dataset.name,),
        recipes=(recipe.name,),
        splits=splits,
        seeds=seeds,
        variants=variants,
    )
    recipes = {recipe.name: recipe}
    known = {**METHODS, **methods}
    for variant in grid.variants:
        taken = hparams(**dict.fromkeys(variant.hparams))
        known.setdefault(variant.method, method(*[variant.method] * 2, "baseline", hparams=taken))
        if variant.recipe is not None:
            own = {"name": variant.recipe, "precision": "bf16"}
            recipes[variant.recipe] = recipe.model_copy(update=own)
    for key, version in versions.items():
        known[key] = known[key].model_copy(update={"version": version})
    registry = MethodRegistry(known)
    resolver = HParamResolver(registry, lambda *_: (MethodRules(rules=()), Location("no rules")))
    return expand(grid, [dataset], recipes, registry, overrides=overrides, resolver=resolver)


def record(job, hits, *, counts=(200, 150, 60, 30, 10, 5), **changes):
    """Build a job's record with the hits of each class of 50."""
    return made_records.record(job, hits, counts=counts, rate=455.0, **changes)


def answered(plan, label, seed, right):
    """Build a run's record with the given correct images of 300."""
    bits = np.zeros(300, bool)
    bits[list(right)] = True
    hits = tuple(bits.reshape(6, 50).sum(axis=1).tolist())
    made = record(plan.jobs[key_of(plan, label, seed)], hits)
    test = made.test.model_copy(update={"correct": made.test.pack(bits)})
    return made.model_copy(update={"test": test})


def stored(*records):
    """Return records as a store would, all published."""
    root = Path("records")
    found = {}
    for one in records:
        path = record_path(root, one.job)
        found[one.key] = Stored(one, path, path.relative_to(root).as_posix(), "published")
    return found


def key_of(plan, label, seed=0, split="longtailed"):
    """Return the key that a variant is reported by."""
    return next(
        row.key
        for row in plan.rows
        if (row.variant.label, row.seed, row.split) == (label, seed, split)
    )


def method(key, title, category, year=None, stage=TRAIN, **changes):
    """Describe a method of one stage."""
    values = {
        "key": key,
        "title": title,
        "paper": None if year is None else Paper("A title", "A. Author", "A venue", year),
        "category": category,
        "family": "rebalancing",
        "version": 1,
        "stages": (stage,),
        "init_from": "softmax" if category == "decoupled" else None,
        "batch_dependence": "none",
        "reduces_to": None,
        "oracle": None,
        "hparams": {},
        "cost": NetworkCost(1000, 70.0),
    }
    return MethodInfo(**{**values, **changes})


def hparams(**defaults):
    """Return the schema of hyper-parameters that take any value."""
    return {"properties": {name: {"default": value} for name, value in defaults.items()}}


METHODS = {
    each.key: each
    for each in (
        method("softmax", "Softmax", "baseline"),
        method("weighted_softmax", "Weighted Softmax", "cost-sensitive"),
        method(
            *("balanced_softmax", "Balanced Softmax", "cost-sensitive", 2020),
            reduces_to="softmax",
            hparams=hparams(tau=1.0),
        ),
        method(
            "ldam_drw",
            "LDAM-DRW",
            "re-margining",
            2019,
            hparams=hparams(deferred="drw", max_margin=0.5, kinds=()),
        ),
        method("ncm", "NCM", "decoupled", 2020, STATISTICS),
        method("crt", "cRT", "decoupled", 2020, CLASSIFIER),
        method("lws", "LWS", "decoupled", 2020, CLASSIFIER),
        method("tau_norm", "tau-norm", "decoupled", 2020, ADJUST, hparams=hparams(tau=1.0)),
    )
}


def world():
    """Return the functions of this module in a namespace."""
    return SimpleNamespace(
        dataset=dataset,
        recipe=recipe,
        plan=plan,
        record=record,
        answered=answered,
        stored=stored,
        key_of=key_of,
        method=method,
        methods=METHODS,
    )
