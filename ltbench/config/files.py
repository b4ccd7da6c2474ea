"""Find configuration files by name; resolve `extends`, variant sets and sweeps.

A name is looked up in ./configs of the working directory, then among the configurations that come
with the package. A dataset, recipe or grid that says `extends: OTHER` has the values of that file
of its kind, with its own merged over them: mappings key by key, all else replaced. The rules of a
method that extend those of another come after them. The variants of a grid may name variant sets,
the files of configs/variants, and sweep over values.
"""

from collections.abc import Container, Iterable, Iterator
from pathlib import Path
from typing import Any, Literal, get_args

from ltbench.config.codes import Code
from ltbench.config.errors import (
    Location,
    Merged,
    Problem,
    collect_errors,
    did_you_mean,
    format_value,
)
from ltbench.config.grid import VariantSet, VariantSetChoice
from ltbench.config.located import Values, joined, merge
from ltbench.config.sweeps import trials_of
from ltbench.config.validation import validate
from ltbench.config.yaml_file import display, read_yaml

Kind = Literal["grids", "recipes", "datasets", "variants", "methods"]
KINDS: tuple[Kind, ...] = get_args(Kind)

UNKNOWN: dict[Kind, tuple[Code, str]] = {
    "datasets": ("unknown-dataset", "dataset"),
    "recipes": ("unknown-recipe", "recipe"),
    "methods": ("unknown-method", "rules of a method"),
    "grids": ("unknown-grid", "grid"),
    "variants": ("unknown-variant-set", "variant set"),
}

APPENDED: dict[Kind, tuple[str, ...]] = {"methods": ("rules",)}
"""Lists that come after those of the file that is extended."""

PACKAGE = Path(__file__).parent.parent


def available(kind: Kind) -> list[str]:
    """Return the names of a kind of configuration, in order."""
    return sorted(files_of(kind))


def files_of(kind: Kind) -> dict[str, Path]:
    """Return the files of a kind of configuration by name."""
    shipped = PACKAGE / "_configs"  # in a wheel; in a checkout they lie beside the package
    roots = [shipped if shipped.is_dir() else PACKAGE.parent / "configs", Path.cwd() / "configs"]
    return {path.stem: path for root in roots for path in (root / kind).glob("*.yaml")}


def find_file(kind: Kind, name: str, location: Location | None = None) -> Path:
    """Return the file of a configuration.

    Args:
        kind: what it describes.
        name: its name.
        location: where the name was written, for messages.

    Raises:
        ConfigError: if there is no such file, with the nearest name.
    """
    files = files_of(kind)
    if name not in files:
        code, noun = UNKNOWN[kind]
        location = location or Location(f"configs/{kind}")
        raise location.error(code, f"no {noun} {format_value(name)}", did_you_mean(name, files))
    return files[name]


def find_grid(name_or_path: str | Path) -> Path:
    """Return the file of a grid, given its name or path.

    Raises:
        ConfigError: if there is no grid of that name, with the nearest name.
    """
    if isinstance(name_or_path, Path):
        return name_or_path
    named = files_of("grids").get(name_or_path)
    return named or grid_path(name_or_path) or find_file("grids", name_or_path)


def grid_path(text: str) -> Path | None:
    """Return the path of a grid's file, or None for a name.

    A path has a slash or ends in .yaml; a name may be that of a NAME.yaml in the working directory.
    """
    path, nearby = Path(text), Path(f"{text}.yaml")
    if path.suffix in {".yaml", ".yml"} or len(path.parts) > 1:
        return path
    return nearby if nearby.is_file() else None


def missing_plugins(paths: Iterable[Path]) -> list[Problem]:
    """Return the plugins whose file is missing."""
    return [
        Location(display(path)).problem(
            "missing-file",
            "is a folder: name a Python file in it" if path.is_dir() else "no such plugin",
        )
        for path in paths
        if not path.is_file()
    ]


def read_file(kind: Kind, path: Path) -> Values:
    """Return the values of a file, with those that it extends.

    Each value has the location where it was written.

    Raises:
        ConfigError: if a file cannot be read, or extends itself or one that there is not.
    """
    return _extended(kind, path, ())


def _extended(kind: Kind, path: Path, extending: tuple[Path, ...]) -> Values:
    values, locate = read_yaml(path)
    location = Location(display(path), locate)
    if kind == "variants" or not isinstance(values, dict) or "extends" not in values:
        return values, location
    here, name = location.at("extends"), values.pop("extends")
    if not isinstance(name, str):
        raise here.error("wrong-type", f"expected the name of a file, got {format_value(name)}")
    base, extending = find_file(kind, name, here), (*extending, path)
    if base.resolve() in {file.resolve() for file in extending}:
        names = ", ".join(file.stem for file in (*extending, base))
        raise here.error("cycle", f"files extend each other in a circle: {names}")
    inherited, origin = _extended(kind, base, extending)
    if not isinstance(inherited, dict):
        raise origin.error("wrong-type", f"expected a mapping, got {format_value(inherited)}")
    return merge((values, location), (inherited, origin), APPENDED.get(kind, ()))


def with_variants(
    values: Any, location: Location, problems: list[Problem], methods: Container[str] = ()
) -> Values:
    """Return the values of a grid with its variants expanded.

    Variant sets become their variants, and sweeps their trials.

    Args:
        values: of the grid.
        location: where they were written.
        problems: to which those of sets and sweeps are added; their variants are left out.
        methods: names that a lone variant may have been meant by.
    """
    listed = values.get("variants") if isinstance(values, dict) else None
    here = location.at("variants")
    entries: list[Values] = []
    if isinstance(listed, str):
        with collect_errors(problems):
            if listed in methods and listed not in files_of("variants"):
                code, noun = UNKNOWN["variants"]
                hint = f"a method is in a list: variants: [{listed}]"
                raise here.error(code, f"no {noun} {format_value(listed)}", hint)
            entries = _of_set(listed, here)
    elif isinstance(listed, list):
        entries = [(item, here.at(i)) for i, item in enumerate(listed)]
    else:
        return values, location
    variants: list[Values] = []
    for item, place in entries:
        with collect_errors(problems):
            variants += _variants(item, place)
    parts = {key: (value, location.at(key)) for key, value in values.items()}
    where = Merged.of(here, {i: place for i, (_, place) in enumerate(variants)})
    return joined(parts | {"variants": ([item for item, _ in variants], where)}, location)


def _variants(item: Any, location: Location) -> Iterator[Values]:
    """Yield the entry itself, the variants of its set, or its trials."""
    if isinstance(item, dict) and "set" in item:
        name = validate(VariantSetChoice, item, location).set
        for variant in _of_set(name, location.at("set")):
            yield from _variants(*variant)
    elif isinstance(item, dict) and "sweep" in item:
        yield from trials_of(item, location)
    else:
        yield item, location


def _of_set(name: str, location: Location) -> list[Values]:
    """Return the located variants of the set named at a location."""
    path = find_file("variants", name, location)
    values, origin = read_file("variants", path)
    validate(VariantSet, values, origin, {"name": path.stem})
    return [(item, origin.at("variants", i)) for i, item in enumerate(values["variants"])]
