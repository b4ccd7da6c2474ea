"""Expand a grid into planned runs and the jobs that they share."""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass, replace
from itertools import product
from typing import Any, get_args

from ltbench.config.dataset import Auxiliary, DatasetSpec, Split
from ltbench.config.errors import Location, format_value, raise_all
from ltbench.config.grid import Grid, Variant
from ltbench.config.grid_problems import grid_problems
from ltbench.config.hparams import HParamResolver
from ltbench.config.job import Job
from ltbench.config.overrides import change_recipe
from ltbench.config.recipe import Recipe
from ltbench.config.registry import MethodRegistry
from ltbench.core.types import ClassSubset, Teacher

Present = Callable[[DatasetSpec], Collection[ClassSubset]]
BASELINE = "softmax"
HELD_OUT = "less held-out images"
"""Label suffix of an init job that leaves out the held-out images of a later job."""


def is_baseline(variant: Variant) -> bool:
    """Return whether a variant is softmax from scratch under the grid's recipe."""
    return variant.method == BASELINE and variant.is_default and variant.init_from is None


@dataclass(frozen=True)
class PlannedRun:
    """A planned run: one variant on one split with one seed.

    Attributes:
        jobs: keys of its own stages in order, without init jobs; the last one is reported.
        needed_for_ua: whether it was only added because UA needs it.
        init_job: key of the job whose weights it starts from; None if trained from scratch.
        init_method: method path of that job, e.g. `ssp+softmax`.
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
        """Key of the job whose record is reported."""
        return self.jobs[-1]

    @property
    def cell(self) -> tuple[str, str, Split, int]:
        """Dataset, recipe, split and seed, which runs of other variants share."""
        return (self.dataset.id, self.recipe.name, self.split, self.seed)


@dataclass(frozen=True)
class Plan:
    """Planned runs of a grid and their jobs, init jobs first."""

    grid: Grid
    rows: tuple[PlannedRun, ...]
    jobs: dict[str, Job]

    def only(self, keep: Callable[[PlannedRun], bool]) -> "Plan":
        """Return the plan of some runs, with the jobs that they need.

        Balanced runs keep softmax on the balanced split, as in the whole plan.
        """
        balanced = {row.cell for row in self.rows if keep(row) and row.split == "balanced"}
        rows: list[PlannedRun] = []
        for row in self.rows:
            if keep(row):
                rows.append(row)
            elif row.cell in balanced and is_baseline(row.variant):
                rows.append(replace(row, needed_for_ua=True))
        needed: set[str] = set()

        def need(key: str) -> None:
            if key not in needed:
                needed.add(key)
                for dependency in self.jobs[key].depends_on:
                    need(dependency)

        for row in rows:
            need(row.key)
        jobs = {key: job for key, job in self.jobs.items() if key in needed}
        return Plan(self.grid, tuple(rows), jobs)


@dataclass(frozen=True)
class _Context:
    """Data, recipe and seed of the stages that lead to a run.

    `holds_out`: a stage needs held-out images, so that no stage may have them for training images.
    Teachers may be trained on a subset of the classes, in smaller batches.
    """

    dataset: DatasetSpec
    recipe: Recipe
    split: Split
    seed: int
    holds_out: bool = False
    subset: ClassSubset = "all"
    batch_share: float = 1.0

    def __hash__(self) -> int:
        """Return a hash without the many values of dataset and recipe."""
        return hash((self.dataset.id, self.recipe.name, self.split, self.seed, self.subset))


class _Expander:
    """Builds each job once, however many runs need it."""

    def __init__(
        self,
        grid: Grid,
        registry: MethodRegistry,
        recipes: Mapping[str, Recipe],
        present: Present,
        overrides: tuple[str, ...],
        resolver: HParamResolver,
        location: Location,
    ) -> None:
        self.grid = grid
        self.registry = registry
        self.recipes = recipes
        self.resolver = resolver
        self.present = present
        self.overrides = overrides
        self.location = location
        self.jobs: dict[str, Job] = {}
        self.stages: dict[tuple[_Context, str], tuple[str, ...] | None] = {}  # None: in progress
        self.datasets: dict[tuple[str, Auxiliary | None], DatasetSpec] = {}
        self.in_progress: list[str] = []

    def row(
        self, context: _Context, variant: Variant, *, needed_for_ua: bool = False
    ) -> PlannedRun:
        """Return the run of a variant in a context; add its jobs."""
        keys = self.stage_jobs(context, variant)
        init = self.init_variant(variant)
        return PlannedRun(
            dataset=context.dataset,
            recipe=context.recipe,
            split=context.split,
            seed=context.seed,
            variant=variant,
            jobs=keys,
            needed_for_ua=needed_for_ua,
            init_job=self.init_job_of(keys[0]),
            init_method=self.method_path(init) if init else None,
        )

    def stage_jobs(self, context: _Context, variant: Variant) -> tuple[str, ...]:
        """Return the keys of a variant's own stages in a context.

        Raises:
            ConfigError: if variants start from each other in a circle.
        """
        memo = (context, variant.model_dump_json())
        keys = self.stages.get(memo, ())
        if keys is None:
            circle = ", ".join(map(format_value, [*self.in_progress, variant.label]))
            message = f"variants start from each other: {circle}"
            raise self.location.at("variants").error("cycle", message)
        if not keys:
            self.stages[memo] = None
            self.in_progress.append(variant.label)
            self.stages[memo] = keys = self._build(context, variant)
            self.in_progress.pop()
        return keys

    def _build(self, context: _Context, variant: Variant) -> tuple[str, ...]:
        info = self.registry[variant.method]
        init = self.init_variant(variant)
        if context.split == "balanced" and info.reduces_to is not None:
            if init is not None and info.init_from is not None:  # an adjustment by the prior
                return self.stage_jobs(context, init)
            return self.stage_jobs(context, self.default_variant(info.reduces_to, variant))
        label = f"{variant.label}, {HELD_OUT}" if context.holds_out else variant.label
        hparams = self.resolver.resolve(variant.method, variant.hparams, context.dataset)
        stages = [declared.resolve(hparams.values) for declared in info.stages]
        auxiliary = context.dataset.auxiliary_or_default
        if auxiliary.source == "train_holdout" and any(stage.needs_auxiliary for stage in stages):
            context = replace(context, holds_out=True)
        recipe = self.recipe_of(context, variant)
        parents = self.stage_jobs(context, init)[-1:] if init else ()
        teachers = [
            self.stage_jobs(
                replace(
                    context,
                    subset=teacher.subset,
                    batch_share=teacher.batch_share,
                    seed=context.seed * teacher.seed_scale + teacher.seed_offset,
                ),
                self.teacher(teacher, variant, hparams.values),
            )[-1]
            for teacher in self.teachers(variant.method, context.dataset, hparams.values)
        ]
        tested_on_auxiliary = context.dataset.tested_on == "auxiliary"
        keys: list[str] = []
        for stage in stages:
            settings = recipe.stage2 if stage.recipe_stage == "stage2" else recipe.stage1
            needed = stage.needs_auxiliary or context.holds_out or tested_on_auxiliary
            job = Job(
                label=label,
                recipe_name=context.recipe.name,
                dataset=self.dataset_with(context.dataset, auxiliary if needed else None),
                split=context.split,
                method=variant.method,
                version=info.version,
                plugin_hash=info.plugin_hash,
                stage=stage.name,
                hparams=info.keyed(hparams.values),
                recipe=recipe,
                stage_recipe=settings.scaled(stage.epochs_scale, stage.lr_scale)
                if stage.is_trained
                else None,
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
        """Return the variant whose weights another starts from.

        It is found by label, else it is the default variant of a method.
        """
        name = variant.init_from or self.registry[variant.method].init_from
        if name is None:
            return None
        return next(
            (v for v in self.grid.variants if v.label == name), None
        ) or self.default_variant(name)

    def init_job_of(self, key: str) -> str | None:
        """Return the key of the job whose weights a job starts from."""
        job = self.jobs[key]
        teachers = self.teachers(job.method, job.dataset, job.hparams)
        return job.depends_on[0] if len(job.depends_on) > len(teachers) else None  # before teachers

    def method_path(self, variant: Variant) -> str:
        """Return the path of methods, e.g. `mixup+crt`.

        The first one is left out if it is the method's default: `crt` alone starts from `softmax`.
        """
        init = self.init_variant(variant)
        if init is None:
            return variant.method
        before = self.method_path(init)
        usual = before == self.registry[variant.method].init_from
        return variant.method if usual else f"{before}+{variant.method}"

    def default_variant(self, method: str, like: Variant | None = None) -> Variant:
        """Return the default variant of a method.

        It has the recipe, the init and the hyper-parameters of another variant, if one is given:
        those that the method has, too. If the grid has a variant of these settings, it is that one,
        so that both share a job.
        """
        default = Variant(label=self.registry[method].title, method=method)
        if like is not None:
            shared = self.registry[method].shared_hparams(like.hparams)
            own = {"recipe": like.recipe, "recipe_overrides": like.recipe_overrides}
            own |= {"init_from": like.init_from, "hparams": shared}
            default = default.model_copy(update=own)
        return self.as_in_grid(default)

    def as_in_grid(self, variant: Variant) -> Variant:
        """Return the grid's variant of the same settings, else the given one."""
        settings = variant.training_settings
        return next((v for v in self.grid.variants if v.training_settings == settings), variant)

    def dataset_with(self, dataset: DatasetSpec, auxiliary: Auxiliary | None) -> DatasetSpec:
        """Return a dataset with auxiliary images, one object for all jobs."""
        known = (dataset.id, auxiliary)
        if known not in self.datasets:
            self.datasets[known] = dataset.model_copy(update={"auxiliary": auxiliary})
        return self.datasets[known]

    def recipe_of(self, context: _Context, variant: Variant) -> Recipe:
        """Return the recipe of a variant in a context."""
        recipe = self.recipes[variant.recipe] if variant.recipe else context.recipe
        if variant.recipe_overrides:
            here = self.location.at("variants", variant.label)
            recipe = change_recipe(recipe, variant.recipe_overrides, here)
        batch_size = max(int(recipe.batch_size * context.batch_share), 1)
        if batch_size == recipe.batch_size:
            return recipe
        return recipe.model_copy(update={"batch_size": batch_size})

    def teachers(
        self, method: str, dataset: DatasetSpec, hparams: Mapping[str, Any]
    ) -> list[Teacher]:
        """Return the teachers of a method, without those of empty groups."""
        return [
            teacher
            for teacher in self.registry[method].teachers
            if teacher.teaches(hparams)
            and (teacher.subset == "all" or teacher.subset in self.present(dataset))
        ]

    def teacher(self, teacher: Teacher, variant: Variant, student: Mapping[str, Any]) -> Variant:
        """Return a teacher as a variant, trained under the same recipe.

        A teacher of all classes that the grid has as a variant is that one, so that both share a
        job and its name.

        Args:
            teacher: as the method declares it.
            variant: that it teaches.
            student: the hyper-parameters of that variant.
        """
        role = "teacher" if teacher.seed_scale == 1 else "member"
        if teacher.subset != "all":
            role = f"{teacher.subset}-shot expert"
        named = Variant(
            label=f"{self.registry[teacher.method].title}, {role}",
            method=teacher.method,
            hparams=teacher.hparams_for(student),
            recipe=variant.recipe,
            recipe_overrides=variant.recipe_overrides,
        )
        return named if teacher.subset != "all" else self.as_in_grid(named)


def expand(
    grid: Grid,
    datasets: list[DatasetSpec],
    recipes: Mapping[str, Recipe],
    registry: MethodRegistry,
    present: Present = lambda _dataset: get_args(ClassSubset),
    overrides: tuple[str, ...] = (),
    resolver: HParamResolver | None = None,
    location: Location | None = None,
) -> Plan:
    """Return the planned runs and jobs of a grid.

    The balanced split adds softmax on it, which UA needs; a dataset without a balanced counterpart
    has no balanced runs. A variant that only pre-trains has jobs, but no runs.

    Args:
        grid: what to run.
        datasets: its datasets, ratios imposed, fingerprints known.
        recipes: by name, those of the grid and of its variants.
        registry: the methods.
        present: groups of a dataset that have classes.
        overrides: what the command line changed, for the record.
        resolver: of hyper-parameters; by default with the rules of configs/methods.
        location: where the grid was written, for messages; by default its name.

    Raises:
        ConfigError: naming the problems of the grid, or a circle of variants.
    """
    resolver = resolver or HParamResolver(registry)
    location = location or Location(f"grid {grid.name}")
    raise_all(grid_problems(grid, datasets, recipes, registry, resolver, location))
    expander = _Expander(grid, registry, recipes, present, overrides, resolver, location)
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
