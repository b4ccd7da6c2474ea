"""From the command line's words to a checked plan."""

from dataclasses import dataclass
from pathlib import Path

from ltbench.config.catalogue import Catalogue, load_catalogue
from ltbench.config.errors import Problem, collecting, raise_all
from ltbench.config.expand import Plan, expand
from ltbench.config.load import expand_dataset, load_grid, load_recipe, method_rules
from ltbench.config.models import DatasetSpec, Grid, Recipe
from ltbench.config.overrides import Override, parse_only, parse_overrides
from ltbench.data.sources import measure_fingerprint


@dataclass(frozen=True)
class Request:
    """What a user asks for.

    Attributes:
        grid: name of a grid, or path of its YAML file.
        sets: overrides, `path=value`.
        only: filters, `field=word,word`.
        data_root: folder of the images; else LTBENCH_DATA, else ./data.
        plugins: Python files with methods of the user's own.
    """

    grid: str
    sets: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    data_root: Path | None = None
    plugins: tuple[Path, ...] = ()


def grid_size(grid: Grid) -> int:
    """Return how many rows a grid has, without making them."""
    datasets = sum(len(choice.ratio or (0,)) for choice in grid.datasets)
    return datasets * len(grid.recipes) * len(grid.splits) * len(grid.seeds) * len(grid.variants)


def read_grid(request: Request) -> tuple[Grid, Catalogue, tuple[Override, ...]]:
    """Return the grid of a request with what it was checked against.

    Raises:
        ConfigError: naming everything wrong with the grid, what it names, and the overrides.
    """
    problems: list[Problem] = []
    overrides: tuple[Override, ...] = ()
    with collecting(problems):
        overrides = parse_overrides(request.sets)
    with collecting(problems):
        parse_only(request.only)
    catalogue = load_catalogue()
    if request.plugins:
        from ltbench.methods.plugins import with_plugins  # imports torch, as plugins do

        catalogue = with_plugins(catalogue, request.plugins)
    grid = None
    with collecting(problems):
        grid = load_grid(request.grid, overrides, catalogue)
    raise_all(problems)
    assert grid is not None  # noqa: S101 - else its problems were raised
    return grid, catalogue, overrides


def make_plan(request: Request) -> tuple[Plan, Catalogue]:
    """Return the plan of a request and the catalogue it was made with.

    Raises:
        ConfigError: naming everything wrong with what was asked for.
        DataError: when images are there but cannot be used.
    """
    grid, catalogue, overrides = read_grid(request)
    datasets = [
        _with_fingerprint(spec, request.data_root)
        for choice in grid.datasets
        for spec in expand_dataset(choice, overrides)
    ]
    plan = expand(
        grid,
        datasets,
        _recipes(grid, overrides),
        catalogue,
        lambda method, spec: method_rules(method, spec, catalogue),
        tuple(override.text for override in overrides),
    )
    only = parse_only(request.only)
    only.check(plan.rows)
    return plan.only(only.wants), catalogue


def _recipes(grid: Grid, overrides: tuple[Override, ...]) -> dict[str, Recipe]:
    names = [*grid.recipes, *(v.recipe for v in grid.variants if v.recipe)]
    return {name: load_recipe(name, overrides) for name in names}


def _with_fingerprint(spec: DatasetSpec, data_root: Path | None) -> DatasetSpec:
    return spec.model_copy(update={"fingerprint": measure_fingerprint(spec, data_root)})
