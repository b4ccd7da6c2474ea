"""Plans of grids, from the arguments of the command line."""

from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path

from pydantic import BaseModel

from ltbench.config.dataset import DatasetSpec
from ltbench.config.errors import (
    COMMAND_LINE,
    ConfigError,
    Location,
    Merged,
    Problem,
    collect_errors,
    did_you_mean,
    format_value,
    raise_all,
)
from ltbench.config.files import find_file, find_grid, missing_plugins, read_file
from ltbench.config.grid import Grid
from ltbench.config.job import Job
from ltbench.config.load import LoadedGrid, expand_datasets, load_recipe, read_grid_file
from ltbench.config.overrides import (
    Override,
    RowFilter,
    parse_only,
    parse_overrides,
    repeated,
)
from ltbench.config.planning import BASELINE, Plan, expand
from ltbench.config.recipe import Recipe
from ltbench.config.registry import MethodRegistry, load_registry
from ltbench.config.yaml_file import display
from ltbench.core.garbage import gc_paused
from ltbench.core.types import RESNETS, SMALL_BACKBONES, ClassSubset
from ltbench.data.imbalance import planned_groups, split_counts


@dataclass(frozen=True)
class Request:
    """A grid with overrides and filters, as given on the command line.

    Attributes:
        grid: name of a grid, or path of its YAML file.
        sets: overrides, `path=value`.
        only: filters, `field=value,value`.
        data_root: folder of the images; default LTBENCH_DATA, else ./data.
        plugins: Python files with custom methods or metrics.
    """

    grid: str
    sets: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    data_root: Path | None = None
    plugins: tuple[Path, ...] = ()


def read_registry(plugins: Sequence[Path] = ()) -> MethodRegistry:
    """Return the method registry with plugins; register the plugins' metrics.

    Imports torch only for plugins, and later to validate hyper-parameters by a method's class.

    Raises:
        ConfigError: if the registry or a plugin cannot be loaded.
    """
    registry = load_registry()
    validating = {
        key: info.model_copy(update={"load_hparams": partial(_hparams_class, key)})
        for key, info in registry.methods.items()
        if info.validates_hparams
    }
    registry = MethodRegistry({**registry.methods, **validating})
    if not plugins:
        return registry
    problems = missing_plugins(plugins)
    if len(problems) == len(plugins):  # before torch is imported
        raise_all(problems)
    from ltbench.analysis.plugin_metrics import add_metrics
    from ltbench.methods.plugins import import_plugin, with_plugins

    for path in plugins:
        with collect_errors(problems):
            add_metrics(import_plugin(path).metrics, Location(display(path)))
    with collect_errors(problems):
        registry = with_plugins(registry, plugins)
    raise_all(problems)
    return registry


def _hparams_class(method: str) -> type[BaseModel]:
    """Return a method's own model of its hyper-parameters."""
    from ltbench.methods import METHODS

    return METHODS[method].HParams


def read_grid(request: Request) -> tuple[LoadedGrid, MethodRegistry, tuple[Override, ...]]:
    """Return the grid of a request, the method registry and the overrides.

    Raises:
        ConfigError: naming every problem with the grid, what it names, and the overrides.
    """
    problems: list[Problem] = []
    overrides: tuple[Override, ...] = ()
    for text in request.sets:  # those that have a meaning are checked with the grid
        with collect_errors(problems):
            overrides += parse_overrides([text])
    problems += repeated(overrides)
    only = RowFilter()
    with collect_errors(problems):
        only = parse_only(request.only)
    try:
        registry = read_registry(request.plugins)
    except ConfigError as error:  # which methods a grid may name is not known
        problems += error.problems
        with collect_errors(problems):
            find_grid(request.grid)
        raise ConfigError(problems) from None
    try:
        grid = read_grid_file(request.grid, overrides, registry)
    except ConfigError as error:
        problems += error.problems
        naming = [override for override in overrides if override.target in ("grid", "dataset")]
        with suppress(ConfigError):  # what the grid has is known if others are wrong
            grid = read_grid_file(request.grid, naming, registry)
            problems += _unknown_names(only, grid.grid, registry, naming)
        raise ConfigError(problems) from None
    if only != RowFilter():
        problems += _unknown_names(only, grid.grid, registry, overrides)
    raise_all(problems)
    return grid, registry, overrides


def _unknown_names(
    only: RowFilter, grid: Grid, registry: MethodRegistry, overrides: Sequence[Override]
) -> Iterator[Problem]:
    """Yield values of a filter that no run can have."""
    specs = expand_datasets(grid, overrides)
    needed_for_ua = (BASELINE, registry[BASELINE].title)
    known: dict[str, Iterable[str]] = {
        "variant": {
            *(name for v in grid.variants for name in (v.label, v.method, v.trial_of or v.label)),
            *(needed_for_ua if "balanced" in grid.splits else ()),
        },
        "dataset": {name for spec in specs for name in (spec.name, spec.id)},
        "recipe": {*grid.recipes, *(v.recipe for v in grid.variants if v.recipe)},
        "split": set(grid.splits),
        "seed": set(map(str, grid.seeds)),
    }
    yield from only.unknown(known)


@gc_paused()
def make_plan(request: Request, max_runs: int | None = None) -> tuple[Plan, MethodRegistry]:
    """Return the plan of a request and the method registry.

    Args:
        request: the grid with overrides and filters.
        max_runs: most runs that the grid may have before filtering; checked before planning.

    Raises:
        ConfigError: naming every problem with the request.
        DataError: if images are present but unusable, or too few for the long-tailed split.
    """
    loaded, registry, overrides = read_grid(request)
    grid = loaded.grid
    runs = _count_runs(grid)
    if max_runs is not None and runs > max_runs:
        message = f"has {runs:,} runs; pass --yes to confirm"
        raise Location(f"grid {grid.name}").error("needs-confirmation", message)
    names = dict.fromkeys([*grid.recipes, *(v.recipe for v in grid.variants if v.recipe)])
    recipes = {name: load_recipe(name, overrides) for name in names}
    specs = expand_datasets(grid, overrides)
    problems: list[Problem] = []
    for recipe in recipes.values():
        problems += _network_problems(recipe, specs, _recipe_location(recipe.name, overrides))
    problems += _split_problems(specs, _counts_location(loaded, overrides))
    raise_all(problems)
    datasets = [_with_measurements(spec, recipes.values(), request.data_root) for spec in specs]

    @cache
    def present(spec: DatasetSpec) -> Collection[ClassSubset]:
        if (planned := planned_groups(spec)) is not None:  # without loading the images
            return planned
        from ltbench.data.split import present_groups

        return present_groups(spec, request.data_root)

    plan = expand(
        grid,
        datasets,
        recipes,
        registry,
        present,
        tuple(override.text for override in overrides),
        loaded.resolver,
        loaded.location,
    )
    if not plan.rows:
        message = "no dataset has a balanced counterpart: the grid has no runs"
        raise loaded.location.at("splits").error("no-effect", message)
    only = parse_only(request.only)
    only.check(plan.rows)
    plan = plan.only(only.matches)
    location = loaded.location.at("datasets")
    raise_all(_auxiliary_problems(plan, registry, location, request.data_root))
    return plan, registry


def _count_runs(grid: Grid) -> int:
    """Return the number of runs of a grid without planning it."""
    datasets = sum(len(choice.imbalance_ratio or (None,)) for choice in grid.datasets)
    return datasets * len(grid.recipes) * len(grid.splits) * len(grid.seeds) * len(grid.variants)


def _recipe_location(name: str, overrides: Sequence[Override]) -> Location:
    """Return where a recipe's values were written."""
    _, file = read_file("recipes", find_file("recipes", name))
    fields = {o.path[0] for o in overrides if o.target == "recipe"}
    return Merged.of(file, {field: COMMAND_LINE.at("recipe", field) for field in fields})


def _counts_location(loaded: LoadedGrid, overrides: Sequence[Override]) -> Location:
    """Return where the class counts of a grid's datasets were written."""
    fields = ("classes", "imbalance_type", "imbalance_ratio", "max_per_class")
    changed = [o.path for o in overrides if o.target == "dataset" and o.path[0] in fields]
    if changed:
        return COMMAND_LINE.at("dataset", *changed[-1])
    return loaded.location.at("datasets")


def _network_problems(
    recipe: Recipe, specs: Iterable[DatasetSpec], location: Location
) -> Iterator[Problem]:
    """Yield problems of a recipe's network; rare ones need timm."""
    name, small = recipe.network, recipe.network in SMALL_BACKBONES
    if small and recipe.pretrained is not None:
        message = f"{name} has no pretrained weights: use a network of timm"
        yield location.at("pretrained").problem("conflict", message)
    if not small and recipe.norm != "batch":
        message = f"norm {recipe.norm} is for small networks; {name} is one of timm"
        yield location.at("norm").problem("conflict", message)
    if small or name in RESNETS:
        return
    from ltbench.networks.build import fixed_image_size, timm_backbones

    location = location.at("network")
    try:
        size = fixed_image_size(name)
    except ValueError:
        hint = did_you_mean(name, {*timm_backbones(), *SMALL_BACKBONES})
        message = f"no network {format_value(name)}, neither here nor in timm"
        yield location.problem("unknown-value", message, hint)
        return
    for spec in specs:
        if size not in (None, spec.image_size):
            message = f"{name} is for images of {size}x{size}, {spec.id} has {spec.image_size}"
            yield location.problem("conflict", f"{message}: set its image_size, or another network")


def _split_problems(specs: Iterable[DatasetSpec], location: Location) -> Iterator[Problem]:
    """Yield datasets whose imbalance ratio leaves classes empty, as known without images."""
    for spec in specs:
        counts = split_counts(spec, "longtailed")
        if counts is not None and min(counts) == 0:
            message = (
                f"{spec.id} has {counts.count(0)} classes without training images: the "
                f"imbalance_ratio can be at most its max_per_class, {spec.max_per_class}"
            )
            yield location.problem("split", message)


def _auxiliary_problems(
    plan: Plan, registry: MethodRegistry, location: Location, data_root: Path | None
) -> Iterator[Problem]:
    """Yield splits that lack auxiliary images to train with or test on."""

    def needs_all_classes(job: Job) -> bool:
        declared = {stage.name: stage for stage in registry[job.method].stages}[job.stage]
        trains = declared.resolve(job.hparams).has_auxiliary_stream
        return trains or job.dataset.tested_on == "auxiliary"

    jobs = filter(needs_all_classes, plan.jobs.values())
    splits = dict.fromkeys((job.dataset, job.split) for job in jobs)
    if splits:
        from ltbench.data.errors import DataError
        from ltbench.data.split import check_auxiliary
    for spec, split in splits:
        try:
            check_auxiliary(spec, split, data_root)
        except DataError as error:
            yield location.problem(error.code, str(error))


def _with_measurements(
    spec: DatasetSpec, recipes: Iterable[Recipe], data_root: Path | None
) -> DatasetSpec:
    """Return a dataset with undecodable images and fingerprint measured if not pinned."""
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

        fingerprint = measure_fingerprint(spec, data_root)
        if fingerprint is not None and spec.imbalance_ratio is not None:
            from ltbench.data.split import check_longtailed

            check_longtailed(spec, data_root)
        spec = spec.model_copy(update={"fingerprint": fingerprint})
    return spec
