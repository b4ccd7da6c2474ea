"""From a grid to its rows and jobs: which stage of which variant trains on which split, once."""

from collections import Counter
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product
from typing import get_args

from ltbench.config.errors import Location, Problem, format_value, raise_all
from ltbench.config.hparams import HParamResolver
from ltbench.config.models import DatasetSpec, Grid, Job, Recipe, Split, Variant
from ltbench.config.registry import MethodRegistry
from ltbench.core.types import ClassSubset, Teacher

Present = Callable[[DatasetSpec], Collection[ClassSubset]]
BASELINE = "softmax"
HELD_OUT = "less held-out images"
"""Added to the label of a start that is trained without the images that a later job needs."""


def is_baseline(variant: Variant) -> bool:
    """Return whether a variant is softmax from scratch under the recipe of the grid."""
    return variant.method == BASELINE and variant.recipe is None and variant.init_from is None


@dataclass(frozen=True)
class PlannedRun:
    """One context of a table: a variant on a split with a seed.

    Attributes:
        jobs: keys of its stages in order, starts of other variants left out; the last is reported.
        needed_for_ua: added because UA needs it, not asked for.
        init_job: key of the job that it continues from; None where it is trained from scratch.
        init_method: method of that job; `ssp+softmax` where that was not itself
            trained from its method's usual first stage.
    """

    dataset: DatasetSpec
    recipe: Recipe
    split: Split
    seed: int
    variant: Variant
    jobs: tuple[str, ...]
    needed_for_ua: bool = False
    init_job: str | None = None
    init_method: str | None = None

    @property
    def key(self) -> str:
        """Key of the job whose record is the context."""
        return self.jobs[-1]

    @property
    def place(self) -> tuple[str, str, Split, int]:
        """What the context shares with those of other variants."""
        return (self.dataset.id, self.recipe.name, self.split, self.seed)


@dataclass(frozen=True)
class Plan:
    """Rows of a grid and the jobs they share, starts before what starts from them."""

    grid: Grid
    rows: tuple[PlannedRun, ...]
    jobs: dict[str, Job]

    def only(self, wanted: Callable[[PlannedRun], bool]) -> "Plan":
        """Return the plan of the rows that are wanted, with the jobs these need.

        Balanced rows bring softmax on the balanced split with them, as in the whole plan.
        """
        balanced_counterparts = {
            row.place for row in self.rows if wanted(row) and row.split == "balanced"
        }
        rows: list[PlannedRun] = []
        for row in self.rows:
            if wanted(row):
                rows.append(row)
            elif row.place in balanced_counterparts and is_baseline(row.variant):
                rows.append(replace(row, needed_for_ua=True))
        needed: set[str] = set()

        def need(key: str) -> None:
            if key not in needed:
                needed.add(key)
                for start in self.jobs[key].depends_on:
                    need(start)

        for row in rows:
            need(row.key)
        jobs = {key: job for key, job in self.jobs.items() if key in needed}
        return Plan(self.grid, tuple(rows), jobs)


@dataclass(frozen=True)
class _Context:
    """Where a chain of jobs belongs, and whether it leads to a method that holds images out.

    No job of such a chain may train on these images: what has been fitted to them cannot be
    validated on them. Chains of teachers may be on a subset, in smaller batches.
    """

    dataset: DatasetSpec
    recipe: Recipe
    split: Split
    seed: int
    holds_out: bool = False
    subset: ClassSubset = "all"
    batch_share: float = 1.0


class _Expander:
    """Builds jobs by memo, so that equal work is one job whoever asks for it."""

    def __init__(
        self,
        grid: Grid,
        registry: MethodRegistry,
        recipes: Mapping[str, Recipe],
        present: Present,
        overrides: tuple[str, ...],
        resolver: HParamResolver,
    ) -> None:
        self.grid = grid
        self.registry = registry
        self.recipes = recipes
        self.resolver = resolver
        self.present = present
        self.overrides = overrides
        self.jobs: dict[str, Job] = {}
        self.chains: dict[tuple[_Context, str], tuple[str, ...]] = {}
        self.begun: dict[tuple[_Context, str], str] = {}

    def row(
        self, context: _Context, variant: Variant, *, needed_for_ua: bool = False
    ) -> PlannedRun:
        """Return the row of a variant on a context; its jobs are among `jobs` then."""
        keys = self.stage_jobs(context, variant)
        start = self.init_variant(variant)
        return PlannedRun(
            dataset=context.dataset,
            recipe=context.recipe,
            split=context.split,
            seed=context.seed,
            variant=variant,
            jobs=keys,
            needed_for_ua=needed_for_ua,
            init_job=self.init_job_of(keys[0]),
            init_method=self.method_path(start) if start else None,
        )

    def stage_jobs(self, context: _Context, variant: Variant) -> tuple[str, ...]:
        """Return the keys of a variant's own stages on a context.

        Raises:
            ConfigError: if it cannot start before it has finished.
        """
        known = (context, variant.model_dump_json())
        if known in self.begun:
            circle = [format_value(label) for label in self.begun.values()]
            message = f"starts in a circle: {', '.join([*circle, format_value(variant.label)])}"
            raise Location(f"grid {self.grid.name}").at("variants").error("cycle", message)
        if known not in self.chains:
            self.begun[known] = variant.label
            self.chains[known] = self._build(context, variant)
            del self.begun[known]
        return self.chains[known]

    def _build(self, context: _Context, variant: Variant) -> tuple[str, ...]:
        info = self.registry[variant.method]
        start = self.init_variant(variant)
        if context.split == "balanced" and info.reduces_to is not None:
            if start is not None and info.init_from is not None:  # an adjustment by the prior
                return self.stage_jobs(context, start)
            equal = self.default_variant(info.reduces_to, variant.recipe, variant.init_from)
            return self.stage_jobs(context, equal)
        label = f"{variant.label}, {HELD_OUT}" if context.holds_out else variant.label
        auxiliary = context.dataset.auxiliary_or_default
        if info.needs_auxiliary and auxiliary.source == "train_holdout":
            context = replace(context, holds_out=True)
        recipe = self.recipe_of(context, variant)
        hparams = self.resolver.resolve(variant.method, variant.hparams, context.dataset)
        parents = self.stage_jobs(context, start)[-1:] if start else ()
        teachers = [
            self.stage_jobs(
                replace(context, subset=teacher.subset, batch_share=teacher.batch_share),
                self.teacher(teacher, variant),
            )[-1]
            for teacher in self.teachers(variant.method, context.dataset)
        ]
        keys: list[str] = []
        for stage in info.stages:
            settings = recipe.stage2 if stage.recipe_stage == "stage2" else recipe.stage1
            needed = (
                auxiliary if stage.tunes_on_validation != "never" or context.holds_out else None
            )
            job = Job(
                label=label,
                recipe_name=context.recipe.name,
                dataset=context.dataset.model_copy(update={"auxiliary": needed}),
                split=context.split,
                method=variant.method,
                version=info.version,
                plugin_hash=info.plugin_hash,
                stage=stage.name,
                hparams=hparams.values,
                recipe=recipe,
                stage_recipe=settings if stage.is_trained else None,
                seed=context.seed,
                depends_on=(*parents, *teachers),
                subset=context.subset,
                overrides=self.overrides,
            )
            self.jobs.setdefault(job.key, job)
            keys.append(job.key)
            parents = (job.key,)
        return tuple(keys)

    def init_variant(self, variant: Variant) -> Variant | None:
        """Return the variant that another continues from: by label, else a method as it is."""
        name = variant.init_from or self.registry[variant.method].init_from
        if name is None:
            return None
        return next(
            (v for v in self.grid.variants if v.label == name), None
        ) or self.default_variant(name)

    def init_job_of(self, key: str) -> str | None:
        """Return the key of the job that one continues from: it stands before its teachers."""
        job = self.jobs[key]
        teachers = self.teachers(job.method, job.dataset)
        return job.depends_on[0] if len(job.depends_on) > len(teachers) else None

    def method_path(self, variant: Variant) -> str:
        """Return a variant's method, behind that of its start unless the method always has it."""
        start = self.init_variant(variant)
        if start is None:
            return variant.method
        before = self.method_path(start)
        usual = before == self.registry[variant.method].init_from
        return variant.method if usual else f"{before}+{variant.method}"

    def default_variant(
        self, method: str, recipe: str | None = None, init_from: str | None = None
    ) -> Variant:
        """Return a method as it is: the grid's variant that says no more of it, else a new one."""
        wanted = (method, recipe, init_from)
        for variant in self.grid.variants:
            if (
                variant.method,
                variant.recipe,
                variant.init_from,
            ) == wanted and not variant.hparams:
                return variant
        label = self.registry[method].title
        return Variant(label=label, method=method, recipe=recipe, init_from=init_from)

    def recipe_of(self, context: _Context, variant: Variant) -> Recipe:
        """Return what a variant is trained with on a context."""
        recipe = self.recipes[variant.recipe] if variant.recipe else context.recipe
        batch_size = max(int(recipe.batch_size * context.batch_share), 1)
        return recipe.model_copy(update={"batch_size": batch_size})

    def teachers(self, method: str, dataset: DatasetSpec) -> list[Teacher]:
        """Return the teachers that a method has on a dataset: an empty group has none."""
        return [
            teacher
            for teacher in self.registry[method].teachers
            if teacher.subset == "all" or teacher.subset in self.present(dataset)
        ]

    def teacher(self, teacher: Teacher, variant: Variant) -> Variant:
        """Return the variant that another learns from, trained under the same recipe."""
        role = "teacher" if teacher.subset == "all" else f"{teacher.subset}-shot expert"
        label = f"{self.registry[teacher.method].title}, {role}"
        hparams = dict(teacher.hparams)
        return Variant(label=label, method=teacher.method, hparams=hparams, recipe=variant.recipe)


def _check_recipes(
    grid: Grid, datasets: Sequence[DatasetSpec], recipes: Mapping[str, Recipe]
) -> None:
    """Refuse recipes whose network is not the grid's, or that are for images of another kind.

    Raises:
        ConfigError: naming each.
    """
    problems: list[Problem] = []
    location = Location(f"grid {grid.name}")
    for i, variant in enumerate(grid.variants):
        here = location.at("variants", i, "recipe")
        own = recipes[variant.recipe] if variant.recipe else None
        for base in (recipes[name] for name in grid.recipes):
            if own and (own.network, own.norm) != (base.network, base.norm):
                message = (
                    f"{format_value(own.name)} has another network than {format_value(base.name)}"
                )
                problems.append(here.problem("conflict", message))
    for dataset, recipe in product(datasets, recipes.values()):
        if dataset.any_size == (recipe.resize_shorter_side is None):
            have = "any size and need a resize_shorter_side" if dataset.any_size else "one size"
            message = (
                f"{format_value(recipe.name)} is not for {dataset.id}, whose images have {have}"
            )
            problems.append(location.at("recipes").problem("conflict", message))
        elif (
            recipe.resize_shorter_side is not None
            and recipe.resize_shorter_side < dataset.image_size
        ):
            name = format_value(recipe.name)
            message = f"{name} has a resize_shorter_side below the size of {dataset.id}"
            problems.append(location.at("recipes").problem("conflict", message))
    raise_all(problems)


def _check_datasets(grid: Grid, datasets: Sequence[DatasetSpec]) -> None:
    """Refuse datasets that tables and folders could not tell apart.

    Raises:
        ConfigError: naming each.
    """
    times = Counter(dataset.id for dataset in datasets)
    location = Location(f"grid {grid.name}").at("datasets")
    raise_all(
        location.problem(
            "duplicate", f"{format_value(name)} is the name of {n} datasets with their ratios"
        )
        for name, n in times.items()
        if n > 1
    )


def _check_pretraining(grid: Grid, registry: MethodRegistry) -> None:
    """Refuse variants that only pre-train and that no other starts from.

    Raises:
        ConfigError: naming each.
    """
    location, starts = Location(f"grid {grid.name}"), {v.init_from for v in grid.variants}
    raise_all(
        location.at("variants", i).problem(
            "no-effect", f"{format_value(v.label)} only pre-trains; nothing starts from it"
        )
        for i, v in enumerate(grid.variants)
        if not registry[v.method].predicts and starts.isdisjoint((v.label, v.method))
    )


def expand(
    grid: Grid,
    datasets: list[DatasetSpec],
    recipes: Mapping[str, Recipe],
    registry: MethodRegistry,
    present: Present = lambda _dataset: get_args(ClassSubset),
    overrides: tuple[str, ...] = (),
    resolver: HParamResolver | None = None,
) -> Plan:
    """Return the rows and jobs of a grid.

    The balanced split brings softmax on it along, which UA needs; a dataset without one
    has no balanced rows. A variant that only pre-trains has no rows, only jobs for what starts
    from it.

    Args:
        grid: what to run.
        datasets: its datasets, ratios imposed, fingerprints known.
        recipes: by name, those of the grid and of its variants.
        registry: what is known of the methods.
        present: groups of a dataset that have classes.
        overrides: what the command line changed, for the record.
        resolver: of hyper-parameters; by default with the rules of configs/methods.

    Raises:
        ConfigError: for datasets of one name, starts that go in circles, recipes whose network is
            not that of the grid's or that are for images of another kind, and pre-training that
            nothing starts from.
    """
    _check_datasets(grid, datasets)
    _check_recipes(grid, datasets, recipes)
    _check_pretraining(grid, registry)
    resolver = resolver or HParamResolver(registry)
    expander = _Expander(grid, registry, recipes, present, overrides, resolver)
    bases = [recipes[name] for name in grid.recipes]
    rows: list[PlannedRun] = []
    for dataset, recipe, split, seed in product(datasets, bases, grid.splits, grid.seeds):
        if split == "balanced" and not dataset.has_balanced_counterpart:
            continue
        context = _Context(dataset, recipe, split, seed)
        rows += [expander.row(context, v) for v in grid.variants if registry[v.method].predicts]
        if split == "balanced" and not any(map(is_baseline, grid.variants)):
            rows.append(
                expander.row(context, expander.default_variant(BASELINE), needed_for_ua=True)
            )
    return Plan(grid, tuple(rows), expander.jobs)
