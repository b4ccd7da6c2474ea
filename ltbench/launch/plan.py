"""From the command line's words to a checked plan."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from ltbench.config.errors import ConfigError, Location, Problem, collect_errors, raise_all
from ltbench.config.load import expand_datasets, load_grid, load_recipe, method_rules
from ltbench.config.models import DatasetSpec, Grid, Recipe
from ltbench.config.overrides import Override, parse_only, parse_overrides
from ltbench.config.planning import Plan, expand
from ltbench.config.registry import MethodRegistry, load_registry
from ltbench.config.yaml_file import display
from ltbench.core.types import ClassSubset
from ltbench.data.imbalance import planned_groups


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


def read_registry(plugins: Sequence[Path] = ()) -> MethodRegistry:
    """Return the methods of the package and of plugins, whose metrics are added to the registry.

    Without plugins no torch is imported.

    Raises:
        ConfigError: if the registry or a plugin cannot be read.
    """
    registry = load_registry()
    if not plugins:
        return registry
    from ltbench.analysis.plugin_metrics import add_metrics
    from ltbench.methods.plugins import import_plugin, with_plugins

    problems: list[Problem] = []
    for path in plugins:
        with collect_errors(problems):
            add_metrics(import_plugin(path).metrics, Location(display(path)))
    with collect_errors(problems):
        registry = with_plugins(registry, plugins)
    raise_all(problems)
    return registry


def read_grid(request: Request) -> tuple[Grid, MethodRegistry, tuple[Override, ...]]:
    """Return the grid of a request with what it was checked against.

    Raises:
        ConfigError: naming everything wrong with the grid, what it names, and the overrides.
    """
    problems: list[Problem] = []
    overrides: tuple[Override, ...] = ()
    with collect_errors(problems):
        overrides = parse_overrides(request.sets)
    with collect_errors(problems):
        parse_only(request.only)
    registry = read_registry(request.plugins)
    try:
        grid = load_grid(request.grid, overrides, registry)
    except ConfigError as error:
        raise ConfigError([*problems, *error.problems]) from None
    raise_all(problems)
    return grid, registry, overrides


def make_plan(request: Request, largest: int | None = None) -> tuple[Plan, MethodRegistry]:
    """Return the plan of a request and the registry it was made with.

    Args:
        request: what is asked for.
        largest: cells that the grid may have, before any are left out; checked before any is made.

    Raises:
        ConfigError: naming everything wrong with what was asked for.
        DataError: when images are there but cannot be used.
    """
    grid, registry, overrides = read_grid(request)
    cells = _cells(grid)
    if largest is not None and cells > largest:
        message = f"has {cells:,} cells; say --yes if that is what you want"
        raise Location(f"grid {grid.name}").error("needs-confirmation", message)
    names = dict.fromkeys([*grid.recipes, *(v.recipe for v in grid.variants if v.recipe)])
    recipes = {name: load_recipe(name, overrides) for name in names}
    datasets = [
        _measured(spec, recipes.values(), request.data_root)
        for spec in expand_datasets(grid, overrides)
    ]

    @cache
    def rules(method: str, spec: DatasetSpec) -> dict[str, object]:
        return method_rules(method, spec, registry)

    @cache
    def present(spec: DatasetSpec) -> Collection[ClassSubset]:
        if (planned := planned_groups(spec)) is not None:  # as below
            return planned
        from ltbench.data.split import present_groups

        return present_groups(spec, request.data_root)

    plan = expand(
        grid,
        datasets,
        recipes,
        registry,
        rules,
        present,
        tuple(override.text for override in overrides),
    )
    only = parse_only(request.only)
    only.check(plan.rows)
    return plan.only(only.wants), registry


def _cells(grid: Grid) -> int:
    """Return how many cells a grid has, without making them."""
    datasets = sum(len(choice.imbalance_ratio or (None,)) for choice in grid.datasets)
    return datasets * len(grid.recipes) * len(grid.splits) * len(grid.seeds) * len(grid.variants)


def _measured(spec: DatasetSpec, recipes: Iterable[Recipe], data_root: Path | None) -> DatasetSpec:
    """Return a dataset with what only its images can tell; what is pinned needs none of them."""
    if spec.any_size and spec.bad_images is None:
        from ltbench.data.image_cache import measure_bad_images

        forms = {
            (r.resize_shorter_side, r.jpeg_quality)
            for r in recipes
            if r.resize_shorter_side is not None
        }
        bad = measure_bad_images(spec, sorted(forms, key=str), data_root)
        spec = spec.model_copy(update={"bad_images": bad})
    if spec.fingerprint is None:
        from ltbench.data.sources import measure_fingerprint

        spec = spec.model_copy(update={"fingerprint": measure_fingerprint(spec, data_root)})
    return spec
