"""From names to checked configuration: datasets, recipes, grids, and rules of methods.

A name is looked for in ./configs of the working directory, then among the configurations that come
with the package; the name of a thing is its file's.
"""

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, TypeVar

from ltbench.config.codes import Code
from ltbench.config.errors import (
    COMMAND_LINE,
    Location,
    Merged,
    Problem,
    collect_errors,
    did_you_mean,
    format_path,
    format_value,
    raise_all,
)
from ltbench.config.models import DatasetChoice, DatasetSpec, Grid, Model, Recipe, Variant
from ltbench.config.overrides import Override, Target, apply_overrides, override_hparams
from ltbench.config.registry import MethodInfo, MethodRegistry
from ltbench.config.rules import MethodRules
from ltbench.config.validation import validate
from ltbench.config.yaml_file import display, read_yaml

Kind = Literal["datasets", "recipes", "methods", "grids"]
UNKNOWN: dict[Kind, Code] = {
    "datasets": "unknown-dataset",
    "recipes": "unknown-recipe",
    "methods": "unknown-method",
    "grids": "unknown-grid",
}
ModelT = TypeVar("ModelT", bound=Model)

PACKAGE = Path(__file__).parent.parent


def available(kind: Kind) -> list[str]:
    """Return the names of a kind of configuration, in order."""
    return sorted(_files(kind))


def load_dataset(
    name: str, overrides: Sequence[Override] = (), location: Location | None = None
) -> DatasetSpec:
    """Return a dataset of configs/datasets.

    Args:
        name: its name.
        overrides: those of the command line; the ones of datasets are made.
        location: where the name was written, for messages.

    Raises:
        ConfigError: if there is no such dataset, or naming everything wrong with it.
    """
    path = _find("datasets", name, location)
    value, file = _read(path)
    spec = _overridden(DatasetSpec, value, file, overrides, "dataset", path.stem)
    _check_open_set(spec, file)
    return spec


def load_recipe(
    name: str, overrides: Sequence[Override] = (), location: Location | None = None
) -> Recipe:
    """Return a recipe of configs/recipes; arguments and errors as of `load_dataset`."""
    path = _find("recipes", name, location)
    return _overridden(Recipe, *_read(path), overrides, "recipe", path.stem)


def expand_dataset(
    choice: DatasetChoice, overrides: Sequence[Override] = (), location: Location | None = None
) -> list[DatasetSpec]:
    """Return the datasets that a grid's choice stands for: one for each ratio.

    A natural profile drops the ratio of the dataset's file. Overrides win over the choice.

    Args:
        choice: name, and the ratios and profile to impose.
        overrides: those of the command line; the ones of datasets are made.
        location: where the choice was written, for messages.

    Raises:
        ConfigError: naming what is wrong with the dataset, or with what is imposed on it.
    """
    path = _find("datasets", choice.name, location and location.at("name"))
    value, file = _read(path)
    validate(DatasetSpec, value, file, {"name": path.stem})
    imposed: dict[str, Any] = {}
    if choice.imbalance_type is not None:
        imposed["imbalance_type"] = choice.imbalance_type
    if choice.imbalance_type == "natural":
        imposed["imbalance_ratio"] = None
    specs = [
        _overridden(
            DatasetSpec, value | imposed | ratio, location or file, overrides, "dataset", path.stem
        )
        for ratio in [{"imbalance_ratio": r} for r in choice.imbalance_ratio or ()] or [{}]
    ]
    for spec in specs:
        _check_open_set(spec, location or file)
    return list(dict.fromkeys(specs))


def expand_datasets(grid: Grid, overrides: Sequence[Override] = ()) -> list[DatasetSpec]:
    """Return the datasets of a grid, ratios imposed; overrides and errors as of a single one."""
    return [spec for choice in grid.datasets for spec in expand_dataset(choice, overrides)]


def _check_open_set(spec: DatasetSpec, location: Location) -> None:
    """Refuse an open set that is no dataset, the dataset itself, or of images of another shape."""
    if spec.open_set is None:
        return
    location = location.at("open_set")
    value, file = _read(_find("datasets", spec.open_set, location))
    other = validate(DatasetSpec, value, file, {"name": spec.open_set})
    shapes = [f"{s.channels}x{s.image_size}x{s.image_size}" for s in (other, spec)]
    if other.name == spec.name:
        raise location.error("conflict", "is the dataset itself")
    if shapes[0] != shapes[1]:
        raise location.error("conflict", f"has images {shapes[0]}, {spec.name} has {shapes[1]}")


def load_grid(
    name_or_path: str | Path,
    overrides: Sequence[Override] = (),
    registry: MethodRegistry | None = None,
) -> Grid:
    """Return a grid, with everything that it names checked.

    Args:
        name_or_path: a name in configs/grids, or a file's path (with a slash or ending in .yaml).
        overrides: those of the command line; the ones of the grid and hyper-parameters are made.
        registry: methods; with it names of methods, hyper-parameters and starts are checked too.

    Raises:
        ConfigError: naming everything wrong with the grid, its datasets, recipes and variants.
    """
    path = _grid_path(name_or_path)
    value, location = _read(path)
    grid = _checked_grid(path.stem, value, location, (), registry)
    if not overrides:
        return grid
    problems: list[Problem] = []
    location = COMMAND_LINE.at("grid")
    with collect_errors(problems):
        value = apply_overrides(value, [o for o in overrides if o.target == "grid"], location)
        grid = _checked_grid(path.stem, value, location, overrides, registry)
    specs = [] if problems else expand_datasets(grid, overrides)

    def check(variant: Variant, location: Location) -> None:
        if registry is not None:
            validate_hparams(registry[variant.method], variant.hparams, specs, location)

    with collect_errors(problems):
        hypers = [o for o in overrides if o.target == "hparams"]
        variants = override_hparams(grid.variants, hypers, check)
        grid = grid.model_copy(update={"variants": variants})
    raise_all(problems)
    return grid


def method_rules(
    method: str, spec: DatasetSpec, registry: MethodRegistry | None = None
) -> dict[str, Any]:
    """Return the hyper-parameters that configs/methods sets for a method on a dataset, if any.

    Args:
        method: its key.
        spec: the dataset.
        registry: methods; with it the hyper-parameters of every rule are checked.

    Raises:
        ConfigError: naming everything wrong with the rules.
    """
    info = None if registry is None else registry[method]
    rules, _ = _rules(method, info)
    return {name: value for name, (_, value) in rules.for_dataset(spec).items()}


def validate_hparams(
    info: MethodInfo, hparams: Mapping[str, Any], specs: Sequence[DatasetSpec], location: Location
) -> None:
    """Refuse hyper-parameters that, with those of the rules, do not fit a method on a dataset.

    Args:
        info: the method.
        hparams: those of a variant.
        specs: the datasets; without any, hyper-parameters that rules could add are not missing.
        location: where they were written; what only the rules say is located there.

    Raises:
        ConfigError: naming everything that does not fit, in the variant or in rules.
    """
    rules, file = _rules(info.key, info)
    problems = [] if specs else _unfit(info, hparams, location)
    for spec in specs:
        ruled = rules.for_dataset(spec)
        values = {name: value for name, (_, value) in ruled.items()} | dict(hparams)
        parts = {name: file.at("rules", i, "hparams", name) for name, (i, _) in ruled.items()}
        parts |= {name: location.at(name) for name in hparams}
        with collect_errors(problems):
            info.validate_hparams(
                values, Merged(location.file, location.locate, location.path, parts)
            )
    raise_all(problems)


def _rules(method: str, info: MethodInfo | None) -> tuple[MethodRules, Location]:
    """Return the rules of a method, checked one by one, and their file; there may be none.

    Raises:
        ConfigError: naming everything wrong with the rules.
    """
    path = _files("methods").get(method)
    if path is None:
        return MethodRules(rules=()), Location(f"configs/methods/{method}.yaml")
    value, location = _read(path)
    rules = validate(MethodRules, value, location)
    problems: list[Problem] = []
    for i, rule in enumerate(rules.rules):
        here = location.at("rules", i)
        for name in rule.when.dataset or ():
            with collect_errors(problems):
                _find("datasets", name, here.at("when", "dataset"))
        if info is not None:
            problems += _unfit(info, rule.hparams, here.at("hparams"))
    raise_all(problems)
    return rules, location


def _unfit(info: MethodInfo, hparams: Mapping[str, Any], location: Location) -> list[Problem]:
    """Return what is wrong with some of a method's hyper-parameters, whatever the others are."""
    problems: list[Problem] = []
    with collect_errors(problems):
        info.validate_hparams(hparams, location)
    whole = format_path(location.path)
    return [p for p in problems if p.code != "missing-key" and p.path != whole]


def schema() -> dict[str, Any]:
    """Return the JSON schemas of the files, by kind, for editors."""
    models: dict[str, type[Model]] = {
        "dataset": DatasetSpec,
        "recipe": Recipe,
        "grid": Grid,
        "method": MethodRules,
    }
    schemas = {kind: model.model_json_schema() for kind, model in models.items()}
    for kind in ("dataset", "recipe", "grid"):
        del schemas[kind]["properties"]["name"]
        schemas[kind]["required"].remove("name")
    return schemas


def _files(kind: Kind) -> dict[str, Path]:
    shipped = PACKAGE / "_configs"  # in a wheel; in a checkout they lie beside the package
    roots = [shipped if shipped.is_dir() else PACKAGE.parent / "configs", Path.cwd() / "configs"]
    return {path.stem: path for root in roots for path in (root / kind).glob("*.yaml")}


def _find(kind: Kind, name: str, location: Location | None) -> Path:
    files = _files(kind)
    if name not in files:
        location = location or Location(f"configs/{kind}")
        message = f"no {kind[:-1]} {format_value(name)}"
        raise location.error(UNKNOWN[kind], message, did_you_mean(name, files))
    return files[name]


def _grid_path(name_or_path: str | Path) -> Path:
    path = Path(name_or_path)
    if isinstance(name_or_path, Path) or path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        return path
    return _find("grids", name_or_path, None)


def _read(path: Path) -> tuple[Any, Location]:
    value, locate = read_yaml(path)
    return value, Location(display(path), locate)


def _overridden(
    model: type[ModelT],
    value: Any,
    location: Location,
    overrides: Sequence[Override],
    target: Target,
    name: str,
) -> ModelT:
    """Return a model of a file; what only goes wrong with overrides is their fault."""
    result = validate(model, value, location, {"name": name})
    if mine := [o for o in overrides if o.target == target]:
        location = COMMAND_LINE.at(target)
        result = validate(model, apply_overrides(value, mine, location), location, {"name": name})
    return result


def _checked_grid(
    name: str,
    value: Any,
    location: Location,
    overrides: Sequence[Override],
    registry: MethodRegistry | None,
) -> Grid:
    problems: list[Problem] = []
    specs: list[DatasetSpec] = []
    for i, item in _items(value, "datasets", "name"):
        here = location.at("datasets", i)
        with collect_errors(problems):
            specs += expand_dataset(validate(DatasetChoice, item, here), overrides, here)
    for i, item in _items(value, "recipes", "recipe"):
        problems += _recipe_problems(item, overrides, location.at("recipes", i))
    variants = list(_items(value, "variants", "method"))
    labels = [item.get("label", item.get("method")) for _, item in variants]
    for i, item in variants:
        here = location.at("variants", i)
        problems += _recipe_problems(item, overrides, here.at("recipe"))
        if registry is not None:
            problems += _method_problems(item, labels, specs, registry, here)
    with collect_errors(problems):
        grid = validate(Grid, value, location, {"name": name})
    raise_all(sorted(problems, key=lambda p: (p.file, p.line or 0)))
    return grid if registry is None else _without_aliases(grid, registry)


def _without_aliases(grid: Grid, registry: MethodRegistry) -> Grid:
    """Return a grid whose variants name methods by their keys, so that jobs are the same."""
    labels = {variant.label for variant in grid.variants}

    def by_key(variant: Variant) -> Variant:
        changes = {"method": registry[variant.method].key}
        if (start := variant.init_from) is not None and start not in labels:
            changes["init_from"] = registry[start].key
        return variant.model_copy(update=changes)

    return grid.model_copy(update={"variants": tuple(map(by_key, grid.variants))})


def _items(value: Any, field: str, bare: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """Entries of a grid's list, a bare name under a key; entries of a wrong type are left out."""
    items = value.get(field) if isinstance(value, dict) else None
    for i, item in enumerate(items if isinstance(items, list) else ()):
        if isinstance(item, str | dict):
            yield i, {bare: item} if isinstance(item, str) else item


def _recipe_problems(
    item: dict[str, Any], overrides: Sequence[Override], location: Location
) -> list[Problem]:
    problems: list[Problem] = []
    name = item.get("recipe")
    if isinstance(name, str):
        with collect_errors(problems):
            load_recipe(name, overrides, location)
    return problems


def _method_problems(
    item: dict[str, Any],
    labels: list[Any],
    specs: list[DatasetSpec],
    registry: MethodRegistry,
    location: Location,
) -> list[Problem]:
    problems: list[Problem] = []
    method, hparams, start = item.get("method"), item.get("hparams", {}), item.get("init_from")
    if not isinstance(method, str):
        return []
    with collect_errors(problems):
        info = registry.get(method, location.at("method"))
        if isinstance(hparams, dict):
            validate_hparams(info, hparams, specs, location.at("hparams"))
    if isinstance(start, str) and start not in labels and start not in registry:
        suggestion = did_you_mean(start, [*map(str, labels), *registry])
        message = f"no variant or method {format_value(start)}"
        problems.append(location.at("init_from").problem("unknown-variant", message, suggestion))
    return problems
