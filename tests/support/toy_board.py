"""A small world to compute tables from: six classes, plans and records made by hand."""

from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace

from ltbench.config.catalogue import MethodInfo
from ltbench.config.expand import Plan, Row
from ltbench.config.models import DatasetSpec, Grid, Job, Recipe, Variant
from ltbench.core.nouns import NetworkCost, Paper, Stage
from ltbench.runs.store import Stored, record_path
from tests.support import made_records

STAGE = {
    "epochs": 3,
    "optimizer": {"lr": 0.1},
    "schedule": {"kind": "constant"},
}
SECOND = {"crt": "classifier", "lws": "classifier", "ncm": "statistics", "tau_norm": "adjust"}
UNTRAINED = {"statistics", "adjust"}


def dataset(**changes):
    values = {
        "name": "toy",
        "title": "Toy",
        "source": "digits",
        "classes": 6,
        "image_size": 8,
        "normalisation": {"mean": (0.5,) * 3, "std": (0.5,) * 3},
        "profile": "exponential",
        "ratio": 40,
        "groups": "shots",
    }
    return DatasetSpec(**{**values, **changes})


def recipe(**changes):
    values = {
        "name": "short",
        "title": "Short",
        "network": "resnet8",
        "batch": 32,
        "first": STAGE,
        "second": STAGE,
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
    balanced_equals=("balanced_softmax",),
    versions: Mapping[str, int] = {},
    overrides=(),
    extra=(),
):
    """Build a plan as the planner would; `extra` variants are rows that UA needs.

    A variant's own recipe is that of the plan in bf16.
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
    jobs, rows = {}, []
    wanted = {v.label: v for v in (*grid.variants, *(Variant(**v) for v in extra))}

    def keys(variant, split, seed):
        if split == "balanced" and variant.method in balanced_equals:
            return keys(wanted["Softmax"], split, seed)
        start = variant.start_from and keys(wanted[variant.start_from], split, seed)[-1]
        stage = SECOND.get(variant.method, "train")
        trains = stage not in UNTRAINED
        own = {"name": variant.recipe, "precision": "bf16"} if variant.recipe else {}
        used = recipe.model_copy(update=own)
        job = Job(
            label=variant.label,
            recipe_name=used.name,
            dataset=dataset,
            split=split,
            method=variant.method,
            version=versions.get(variant.label, 1),
            stage=stage,
            hyper=variant.hyper,
            recipe=used,
            stage_recipe=(used.second if start else used.first) if trains else None,
            seed=seed,
            start=(start,) if start else (),
            overrides=overrides,
        )
        jobs.setdefault(job.key, job)
        return (job.key,)

    def start(variant, split, seed):
        before = variant.start_from and wanted[variant.start_from]
        return (keys(before, split, seed)[-1], before.method) if before else (None, None)

    for split in splits:
        for seed in seeds:
            rows += [
                Row(
                    *(dataset, recipe, split, seed, v, keys(v, split, seed), v.label not in asked),
                    *start(v, split, seed),
                )
                for asked in [{v.label for v in grid.variants}]
                for v in wanted.values()
                if v.label in asked or split == "balanced"
            ]
    return Plan(grid, tuple(rows), jobs)


def record(job, hits, *, counts=(200, 150, 60, 30, 10, 5), **changes):
    """Build the record of a job with the given hits of each class, of 50 unless told."""
    return made_records.record(job, hits, counts=counts, rate=455.0, **changes)


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


def method(key, title, category, year, stage="train"):
    return MethodInfo(
        key=key,
        title=title,
        paper=None if year is None else Paper("A title", "A. Author", "A venue", year),
        category=category,
        family="rebalancing",
        version=1,
        stages=(Stage(stage),),
        start_from="softmax" if category == "decoupled" else None,
        coupling="none",
        balanced_equals=None,
        oracle=None,
        hyper={},
        cost=NetworkCost(1000, 70.0),
    )


METHODS = {
    "softmax": method("softmax", "Softmax", "baseline", None),
    "weighted_softmax": method("weighted_softmax", "Weighted Softmax", "cost-sensitive", None),
    "balanced_softmax": method("balanced_softmax", "Balanced Softmax", "cost-sensitive", 2020),
    "ldam_drw": method("ldam_drw", "LDAM-DRW", "re-margining", 2019),
    "ncm": method("ncm", "NCM", "decoupled", 2020),
    "crt": method("crt", "cRT", "decoupled", 2020, "classifier"),
    "lws": method("lws", "LWS", "decoupled", 2020, "classifier"),
    "tau_norm": method("tau_norm", "tau-norm", "decoupled", 2020),
}


def world():
    """Return the makers of the small world, by name."""
    return SimpleNamespace(
        dataset=dataset,
        recipe=recipe,
        plan=plan,
        record=record,
        stored=stored,
        key_of=key_of,
        methods=METHODS,
    )
