"""Load and check datasets, recipes and grids by name."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, TypeVar

from ltbench.config.base import Model
from ltbench.config.dataset import OWN_SOURCES, DatasetSpec
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
from ltbench.config.files import find_file, find_grid, read_file, with_variants
from ltbench.config.grid import DatasetChoice, Grid, Variant, VariantSet
from ltbench.config.hparams import HParamResolver
from ltbench.config.overrides import (
    SCALED,
    Override,
    Target,
    VariantHParams,
    apply_overrides,
    change_recipe,
    override_hparams,
)
from ltbench.config.recipe import Recipe
from ltbench.config.registry import MethodRegistry
from ltbench.config.rules import MethodRules
from ltbench.config.validation import validate
from ltbench.config.yaml_file import display

ModelT = TypeVar("ModelT", bound=Model)


def load_dataset(
    name: str, overrides: Sequence[Override] = (), location: Location | None = None
) -> DatasetSpec:
    """Return a dataset of configs/datasets.

    Args:
        name: its name.
        overrides: of the command line; those of datasets apply.
        location: where the name was written, for messages.

    Raises:
        ConfigError: if there is no such dataset, or naming everything wrong with it.
    """
    value, file, stem = _read_dataset(name, location)
    spec = _overridden(DatasetSpec, value, file, overrides, "dataset", stem)
    _check_open_set(spec, file, overrides)
    return spec


def _read_dataset(name: str, location: Location | None) -> tuple[dict[str, Any], Location, str]:
    """Read the file of a dataset; set the defaults of own images.

    Returns:
        Values, location and name of the file.
    """
    path = find_file("datasets", name, location)
    value, file = read_file("datasets", path)
    if value.get("source") in OWN_SOURCES:
        value = {"exif": "upright", "class_order": "size"} | value
    return value, file, path.stem


def load_recipe(
    name: str, overrides: Sequence[Override] = (), location: Location | None = None
) -> Recipe:
    """Return a recipe of configs/recipes; arguments and errors as of `load_dataset`."""
    path = find_file("recipes", name, location)
    return _overridden(Recipe, *read_file("recipes", path), overrides, "recipe", path.stem)


def expand_dataset(
    choice: DatasetChoice, overrides: Sequence[Override] = (), location: Location | None = None
) -> list[DatasetSpec]:
    """Return the datasets of a grid's choice: one for each imbalance ratio.

    The natural imbalance type drops ratio and size of the dataset's file. Overrides win over the
    choice.

    Args:
        choice: name, and what to impose.
        overrides: of the command line; those of datasets apply.
        location: where the choice was written, for messages.

    Raises:
        ConfigError: naming what is wrong with the dataset, or with what is imposed on it.
    """
    value, file, name = _read_dataset(choice.name, location and location.at("name"))
    _overridden(DatasetSpec, value, file, (), "dataset", name)
    imposed: dict[str, Any] = {}
    if choice.imbalance_type is not None:
        imposed["imbalance_type"] = choice.imbalance_type
    if choice.imbalance_type == "natural":
        imposed |= {"imbalance_ratio": None, "max_per_class": None}
    if choice.tested_on is not None:
        imposed["tested_on"] = choice.tested_on
    specs = [
        _overridden(
            DatasetSpec, value | imposed | ratio, location or file, overrides, "dataset", name
        )
        for ratio in [{"imbalance_ratio": r} for r in choice.imbalance_ratio or ()] or [{}]
    ]
    for spec in specs:
        _check_open_set(spec, location or file, overrides)
    return list(dict.fromkeys(specs))


def expand_datasets(grid: Grid, overrides: Sequence[Override] = ()) -> list[DatasetSpec]:
    """Return the datasets of a grid, ratios imposed; errors as of `expand_dataset`."""
    return [spec for choice in grid.datasets for spec in expand_dataset(choice, overrides)]


def _check_open_set(spec: DatasetSpec, location: Location, overrides: Sequence[Override]) -> None:
    """Refuse an open set that is unknown, or not comparable."""
    if spec.open_set is None:
        return
    if any((o.target, o.path) == ("dataset", ("open_set",)) for o in overrides):
        location = COMMAND_LINE.at("dataset")
    location = location.at("open_set")
    value, file, name = _read_dataset(spec.open_set, location)
    other = validate(DatasetSpec, value, file, {"name": name})
    shapes = [f"{s.channels}x{s.image_size}x{s.image_size}" for s in (other, spec)]
    if other.name == spec.name:
        raise location.error("conflict", "is the dataset itself")
    if shapes[0] != shapes[1]:
        raise location.error("conflict", f"has images {shapes[0]}, {spec.name} has {shapes[1]}")


@dataclass(frozen=True)
class LoadedGrid:
    """A grid, and where its values were written.

    Attributes:
        file: its file, as messages show it.
        values: of the file, with what it extends, variant sets and overrides of the grid.
        location: where the values were written.
        hparams: where the hyper-parameters of its variants were written, in order.
        resolver: that checked them; None without a registry of methods.
    """

    grid: Grid
    file: str
    values: dict[str, Any]
    location: Location
    hparams: tuple[Location, ...]
    resolver: HParamResolver | None


def load_grid(
    name_or_path: str | Path,
    overrides: Sequence[Override] = (),
    registry: MethodRegistry | None = None,
) -> Grid:
    """Return a grid, checked with all that it names; see `read_grid_file`."""
    return read_grid_file(name_or_path, overrides, registry).grid


def read_grid_file(
    name_or_path: str | Path,
    overrides: Sequence[Override] = (),
    registry: MethodRegistry | None = None,
) -> LoadedGrid:
    """Return a grid, checked with all that it names, and its locations.

    Args:
        name_or_path: a name in configs/grids, or a file's path (with a slash or ending in .yaml).
        overrides: of the command line; those of the grid and of hyper-parameters apply.
        registry: methods; with it names of methods and hyper-parameters are checked, too.

    Raises:
        ConfigError: naming everything wrong with the grid, its datasets, recipes and variants.
    """
    path = find_grid(name_or_path)
    problems: list[Problem] = []
    of_sets: list[Problem] = []
    methods = () if registry is None else registry
    values, location = with_variants(*read_file("grids", path), of_sets, methods)
    grid, specs = _check_grid(path.stem, values, location, (), registry, problems)
    if overrides and not (problems or of_sets):
        top, mine = COMMAND_LINE.at("grid"), [o for o in overrides if o.target == "grid"]
        where = {key: location.at(key) for key in values} | {
            key: top.at(key) for key, *_ in (o.path for o in mine)
        }
        with collect_errors(problems):
            changed = apply_overrides(values, mine, top)
            values, location = with_variants(changed, Merged.of(top, where), of_sets, methods)
            grid, specs = _check_grid(path.stem, values, location, overrides, registry, problems)
    hparams = list(_hparams(values, location, registry))
    changes = [o for o in overrides if o.target == "hparams"]
    hparams = override_hparams(hparams, changes, problems)
    resolver = None if registry is None else HParamResolver(registry)
    if resolver is not None:
        for variant in hparams:
            with collect_errors(problems):
                if variant.method in resolver.registry:
                    resolver.check(variant.method, variant.values, specs, variant.location)
    if of_sets:  # other problems, except those that variants of the sets may solve
        missing = ("variants", "grid.variants")
        others = (p for p in problems if p.path not in missing and p.code != "unknown-variant")
        problems = [*of_sets, *others]
    raise_all(sorted(problems, key=lambda p: (p.file, p.line or 0)))
    if grid is None:
        raise RuntimeError(f"grid {path.stem} is neither valid nor has problems")
    variants = [
        _by_key(variant.model_copy(update={"hparams": own.values}), grid, registry)
        for variant, own in zip(grid.variants, hparams, strict=True)
    ]
    grid = grid.model_copy(update={"variants": tuple(variants)})
    written = tuple(own.location for own in hparams)
    return LoadedGrid(grid, display(path), values, location, written, resolver)


def _check_grid(
    name: str,
    values: Any,
    location: Location,
    overrides: Sequence[Override],
    registry: MethodRegistry | None,
    problems: list[Problem],
) -> tuple[Grid | None, list[DatasetSpec]]:
    """Return the grid, if valid, and its datasets; collect all problems."""
    specs: list[DatasetSpec] = []
    grid = None
    for i, item in _items(values, "datasets", "name"):
        here = location.at("datasets", i)
        with collect_errors(problems):
            specs += expand_dataset(validate(DatasetChoice, item, here), overrides, here)
    for i, item in _items(values, "recipes", "recipe"):
        _check_recipe(item, overrides, location.at("recipes", i), problems)
    variants = list(_items(values, "variants", "method"))
    labels = [item.get("label", item.get("method")) for _, item in variants]
    recipes = [item for _, item in _items(values, "recipes", "recipe")]
    for i, item in variants:
        here = location.at("variants", i)
        _check_recipe(item, overrides, here.at("recipe"), problems)
        for own in [item] if "recipe" in item else recipes:
            _check_recipe_overrides(item, own, overrides, here.at("recipe_overrides"), problems)
        if registry is not None:
            _check_method(item, labels, registry, here, problems)
    with collect_errors(problems):
        grid = validate(Grid, values, location, {"name": name})
    return grid, specs


def _items(value: Any, field: str, bare: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Yield the entries of a grid's list, bare names as mappings.

    Entries of a wrong type are skipped.
    """
    items = value.get(field) if isinstance(value, dict) else None
    for i, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, str | dict):
            yield i, {bare: item} if isinstance(item, str) else item


def _check_recipe(
    item: dict[str, Any],
    overrides: Sequence[Override],
    location: Location,
    problems: list[Problem],
) -> None:
    name = item.get("recipe")
    if isinstance(name, str):
        with collect_errors(problems):
            load_recipe(name, overrides, location)


def _check_recipe_overrides(
    item: dict[str, Any],
    own: dict[str, Any],
    overrides: Sequence[Override],
    location: Location,
    problems: list[Problem],
) -> None:
    """Collect the problems of a variant's changes to a valid recipe."""
    changes = item.get("recipe_overrides")
    if not changes or not isinstance(changes, dict):
        return
    try:
        recipe = load_recipe(own["recipe"], overrides)
    except ConfigError:
        return
    with collect_errors(problems):
        change_recipe(recipe, changes, location)


def _check_method(
    item: dict[str, Any],
    labels: list[Any],
    registry: MethodRegistry,
    location: Location,
    problems: list[Problem],
) -> None:
    method, init_from = item.get("method"), item.get("init_from")
    if not isinstance(method, str):
        return
    with collect_errors(problems):
        registry.get(method, location.at("method"))
    if isinstance(init_from, str) and init_from not in labels and init_from not in registry:
        suggestion = did_you_mean(init_from, [*map(str, labels), *registry])
        message = f"no variant or method {format_value(init_from)}"
        problems.append(location.at("init_from").problem("unknown-variant", message, suggestion))


def _hparams(
    values: Any, location: Location, registry: MethodRegistry | None
) -> Iterator[VariantHParams]:
    """Yield the hyper-parameters of the variants of a grid that are mappings."""
    for i, item in _items(values, "variants", "method"):
        method, hparams = item.get("method"), item.get("hparams", {})
        if isinstance(method, str) and isinstance(hparams, dict):
            if registry is not None and method in registry:
                method = registry[method].key
            here = location.at("variants", i, "hparams")
            yield VariantHParams(str(item.get("label", method)), method, hparams, here)


def _by_key(variant: Variant, grid: Grid, registry: MethodRegistry | None) -> Variant:
    """Return a variant with aliases of methods replaced by keys."""
    if registry is None:
        return variant
    changes = {"method": registry[variant.method].key}
    name = variant.init_from
    if name is not None and name not in {other.label for other in grid.variants}:
        changes["init_from"] = registry[name].key
    return variant.model_copy(update=changes)


def schema() -> dict[str, Any]:
    """Return the JSON schemas of the files, by kind, for editors."""
    models: dict[str, type[Model]] = {
        "dataset": DatasetSpec,
        "recipe": Recipe,
        "grid": Grid,
        "variants": VariantSet,
        "method": MethodRules,
    }
    schemas = {kind: model.model_json_schema() for kind, model in models.items()}
    for kind in ("dataset", "recipe", "grid", "variants"):
        del schemas[kind]["properties"]["name"]
        schemas[kind]["required"].remove("name")
    for kind in ("dataset", "recipe", "grid", "method"):
        schemas[kind]["properties"]["extends"] = {"type": "string"}
        schemas[kind]["anyOf"] = [
            {"required": ["extends"]},
            {"required": schemas[kind].pop("required")},
        ]
    return schemas


def _overridden(
    model: type[ModelT],
    value: Any,
    location: Location,
    overrides: Sequence[Override],
    target: Target,
    name: str,
) -> ModelT:
    """Return the model of a file, with overrides.

    The file is checked first: problems that come with overrides are located at `--set`.
    """
    try:
        result = validate(model, value, location, {"name": name})
    except ConfigError as error:
        raise ConfigError([_with_extending(p, location.file) for p in error.problems]) from None
    if mine := [o for o in overrides if o.target == target]:
        location = COMMAND_LINE.at(target)
        changed = apply_overrides(value, mine, location)
        try:
            result = validate(model, changed, location, {"name": name})
        except ConfigError as error:
            raise ConfigError([_with_scaling(problem) for problem in error.problems]) from None
    return result


def _with_extending(problem: Problem, file: str) -> Problem:
    """Return a problem, with the file that extends that of the problem."""
    if problem.file == file or problem.suggestion:
        return problem
    return replace(problem, suggestion=f"{file} extends this file")


def _with_scaling(problem: Problem) -> Problem:
    """Return a problem, with a hint where scaled epochs would fit."""
    if problem.code != "conflict" or problem.path not in ("recipe.stage1", "recipe.stage2"):
        return problem
    return replace(problem, suggestion=f"`--set {problem.path}.{SCALED}=N` scales all of them")
