"""From a grid to its rows and jobs: which stage of which variant trains on which split, once."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ltbench.config.catalogue import Catalogue, MethodInfo
from ltbench.config.errors import Problem, Source, raise_all, show
from ltbench.config.models import DatasetSpec, Grid, Job, Recipe, Split, Variant
from ltbench.core.nouns import Teacher

Rules = Callable[[str, DatasetSpec], dict[str, object]]
BASELINE = "softmax"


@dataclass(frozen=True)
class Row:
    """One cell of a table: a variant on a split with a seed.

    Attributes:
        jobs: keys of its stages in order, starts of other variants left out; the last is reported.
        needed_for_ua: added because UA needs it, not asked for by the grid.
    """

    dataset: DatasetSpec
    recipe: Recipe
    split: Split
    seed: int
    variant: Variant
    jobs: tuple[str, ...]
    needed_for_ua: bool = False

    @property
    def key(self) -> str:
        """Key of the job whose record is the cell."""
        return self.jobs[-1]


@dataclass(frozen=True)
class Plan:
    """Rows of a grid and the jobs they share, starts before what starts from them."""

    grid: Grid
    rows: tuple[Row, ...]
    jobs: dict[str, Job]

    def only(self, wanted: Callable[[Row], bool]) -> "Plan":
        """Return the plan of the rows that are wanted, with the jobs these need."""
        rows = tuple(row for row in self.rows if wanted(row))
        needed: set[str] = set()

        def need(key: str) -> None:
            if key not in needed:
                needed.add(key)
                for start in self.jobs[key].start:
                    need(start)

        for row in rows:
            need(row.key)
        return Plan(self.grid, rows, {key: job for key, job in self.jobs.items() if key in needed})


@dataclass(frozen=True)
class _Cell:
    """Where a chain of jobs belongs."""

    dataset: DatasetSpec
    recipe: Recipe
    split: Split
    seed: int


class _Expander:
    """Builds jobs by memo, so that equal work is one job whoever asks for it."""

    def __init__(
        self,
        grid: Grid,
        catalogue: Catalogue,
        recipes: Mapping[str, Recipe],
        rules: Rules,
        overrides: tuple[str, ...],
    ) -> None:
        self.grid = grid
        self.catalogue = catalogue
        self.recipes = recipes
        self.rules = rules
        self.overrides = overrides
        self.jobs: dict[str, Job] = {}
        self.chains: dict[tuple[_Cell, str], tuple[str, ...]] = {}

    def chain(self, cell: _Cell, variant: Variant) -> tuple[str, ...]:
        """Return the keys of a variant's own stages on a cell."""
        known = (cell, variant.model_dump_json())
        if known not in self.chains:
            self.chains[known] = self._build(cell, variant)
        return self.chains[known]

    def _build(self, cell: _Cell, variant: Variant) -> tuple[str, ...]:
        info = self.catalogue[variant.method]
        start = self.start_of(variant, info)
        if cell.split == "balanced" and info.balanced_equals is not None:
            own = start if start is not None and info.start_from is not None else None
            return self.chain(cell, own or self.baseline(variant))
        recipe = self.recipes[variant.recipe] if variant.recipe else cell.recipe
        hyper = info.check_hyper({**self.rules(variant.method, cell.dataset), **variant.hyper})
        parents = self.chain(cell, start)[-1:] if start else ()
        teachers = tuple(self.chain(cell, self.teacher(t, variant))[-1] for t in info.teachers)
        keys: list[str] = []
        for stage in info.stages:
            job = Job(
                label=variant.label,
                recipe_name=cell.recipe.name,
                dataset=cell.dataset,
                split=cell.split,
                method=variant.method,
                version=info.version,
                stage=stage.name,
                hyper=hyper,
                recipe=recipe,
                stage_recipe=(recipe.second if stage.second else recipe.first) if stage.trains else None,
                seed=cell.seed,
                start=(*parents, *teachers),
                overrides=self.overrides,
            )
            self.jobs.setdefault(job.key, job)
            keys.append(job.key)
            parents = (job.key,)
        return tuple(keys)

    def teacher(self, teacher: Teacher, variant: Variant) -> Variant:
        """Return the variant that another learns from, trained under the same recipe."""
        label = f"{self.catalogue[teacher.method].title}, teacher"
        hyper = dict(teacher.hyper)
        return Variant(label=label, method=teacher.method, hyper=hyper, recipe=variant.recipe)

    def start_of(self, variant: Variant, info: MethodInfo) -> Variant | None:
        """Return the variant that another continues from: by label, else by method key."""
        name = variant.start_from or info.start_from
        if name is None:
            return None
        named = [v for v in self.grid.variants if v.label == name]
        plain = [v for v in self.grid.variants if v.method == name and not v.hyper and not v.recipe]
        for candidate in (*named, *plain):
            return candidate
        return Variant(label=self.catalogue[name].title, method=name)

    def baseline(self, variant: Variant) -> Variant:
        """Return plain softmax under the recipe and from the start of a variant."""
        recipe, start = variant.recipe, variant.start_from
        for candidate in self.grid.variants:
            if (candidate.method, candidate.recipe, candidate.start_from) == (BASELINE, recipe, start):
                return candidate
        label = self.catalogue[BASELINE].title
        return Variant(label=label, method=BASELINE, recipe=recipe, start_from=start)


def check(grid: Grid, catalogue: Catalogue, recipes: Mapping[str, Recipe]) -> None:
    """Check what only shows when variants and recipes are seen together.

    Raises:
        ConfigError: naming every variant that starts from itself, and every recipe of a variant
            whose network is not that of the grid's.
    """
    source = Source(f"grid {grid.name}")
    problems: list[Problem] = []
    starts = {v.label: v.start_from or catalogue[v.method].start_from for v in grid.variants}
    for i, variant in enumerate(grid.variants):
        here = source.at("variants", i)
        seen, start = {variant.label}, starts[variant.label]
        while start in starts and start not in seen:
            seen.add(start)
            start = starts[start]
        if start in seen:
            problems.append(here.at("start_from").problem(f"{show(variant.label)} starts from itself"))
        own = recipes[variant.recipe] if variant.recipe else None
        for base in (recipes[name] for name in grid.recipes):
            if own and (own.network, own.norm) != (base.network, base.norm):
                message = f"{show(own.name)} has another network than {show(base.name)}"
                problems.append(here.at("recipe").problem(message))
    raise_all(problems)


def expand(
    grid: Grid,
    datasets: list[DatasetSpec],
    recipes: Mapping[str, Recipe],
    catalogue: Catalogue,
    rules: Rules = lambda _method, _dataset: {},
    overrides: tuple[str, ...] = (),
) -> Plan:
    """Return the rows and jobs of a grid.

    The balanced split brings softmax on the twin with it, which UA needs; a dataset taken as it is
    has no twin and no balanced rows.

    Args:
        grid: what to run.
        datasets: its datasets, ratios imposed, fingerprints known.
        recipes: by name, those of the grid and of its variants.
        catalogue: what is known of the methods.
        rules: hyper-parameters that a paper changes by dataset.
        overrides: what the command line changed, for the record.

    Raises:
        ConfigError: for starts that go in circles and recipes that do not fit together.
    """
    check(grid, catalogue, recipes)
    expander = _Expander(grid, catalogue, recipes, rules, overrides)
    rows: list[Row] = []
    for dataset in datasets:
        for recipe in (recipes[name] for name in grid.recipes):
            for split in grid.splits:
                if split == "balanced" and dataset.profile == "natural":
                    continue
                for seed in grid.seeds:
                    cell = _Cell(dataset, recipe, split, seed)
                    for variant in grid.variants:
                        keys = expander.chain(cell, variant)
                        rows.append(Row(dataset, recipe, split, seed, variant, keys))
                    if split == "balanced" and not any(
                        v.method == BASELINE and v.recipe is None for v in grid.variants
                    ):
                        plain = Variant(label=catalogue[BASELINE].title, method=BASELINE)
                        keys = expander.chain(cell, plain)
                        rows.append(Row(dataset, recipe, split, seed, plain, keys, needed_for_ua=True))
    return Plan(grid, tuple(rows), expander.jobs)
