"""Configurations as text, with the source file of each value."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from ltbench.config.errors import (
    COMMAND_LINE,
    KeyPath,
    Location,
    Merged,
    did_you_mean,
    format_value,
)
from ltbench.config.files import KINDS, Kind, files_of, find_file, grid_path, read_file
from ltbench.config.hparams import HParamResolver
from ltbench.config.load import LoadedGrid, expand_datasets, load_dataset, load_recipe
from ltbench.config.overrides import Override, apply_overrides
from ltbench.config.registry import MethodRegistry
from ltbench.config.yaml_file import dump_yaml

WIDTH = 100
"""Characters of a line beyond which a list or mapping is written one value a line."""


def find_any(name: str) -> list[tuple[Kind, Path]]:
    """Return kind and file of the configurations of a name.

    It is given as NAME, as recipes/NAME or the like, or as the path of a grid. Of a name of several
    kinds, the order is: grid, recipe, dataset, variant set, rules of a method.

    Raises:
        ConfigError: if there is none.
    """
    head, _, rest = name.partition("/")
    files = {kind: files_of(kind) for kind in KINDS}
    if head in files and rest:
        kind = KINDS[KINDS.index(head)]
        return [(kind, find_file(kind, rest))]
    found = [(kind, paths[name]) for kind, paths in files.items() if name in paths]
    if found:
        return found
    if path := grid_path(name):
        return [("grids", path)]
    message = f"no grid, recipe, dataset, variant set or rules of a method {format_value(name)}"
    known = {name for paths in files.values() for name in paths}
    raise Location("configs").error("missing-file", message, did_you_mean(name, known))


def resolved_file(kind: Kind, path: Path, overrides: Sequence[Override] = ()) -> str:
    """Return a recipe, dataset, variant set or rules, resolved, as text.

    Raises:
        ConfigError: naming everything wrong with it.
    """
    if kind == "recipes":
        load_recipe(path.stem, overrides)
    elif kind == "datasets":
        load_dataset(path.stem, overrides)
    values, location = read_file(kind, path)
    for override in overrides:
        if f"{override.target}s" == kind:
            values = apply_overrides(values, [override], COMMAND_LINE.at(override.target))
            location = _overridden(location, override.path)
    return "\n".join(_block(values, location, location.file, ""))


def resolved_grid(
    loaded: LoadedGrid, overrides: Sequence[Override], registry: MethodRegistry
) -> str:
    """Return two YAML documents: a grid, and its variants' hyper-parameters by dataset.

    Datasets on which a variant has the same hyper-parameters stand together.

    Raises:
        ConfigError: naming what is wrong with a dataset.
    """
    lines = [*_block(loaded.values, loaded.location, loaded.file, ""), "---"]
    resolver = loaded.resolver or HParamResolver(registry)
    specs = expand_datasets(loaded.grid, overrides)
    for variant, location in zip(loaded.grid.variants, loaded.hparams, strict=True):
        by_values: dict[str, list[str]] = {}
        for spec in specs:
            resolved = resolver.resolve(variant.method, variant.hparams, spec)
            rows = []
            for name, value in resolved.values.items():
                source = "default"
                if name in variant.hparams:
                    source = _position(location.at(name))
                elif name in resolved.rules:
                    where, paper = resolved.rules[name]
                    source = f"{_position(where)}: {paper}"
                rows.append(f"    {name}: {_flow(value)}  # {source}")
            by_values.setdefault("\n".join(rows), []).append(spec.id)
        lines.append(f"{_flow(variant.label)}:  # {variant.method}")
        for text, ids in by_values.items():
            lines.append(f"  {_flow(', '.join(ids))}:{'' if text else ' {}'}")
            lines += [text] if text else []
    return "\n".join(lines)


def _overridden(location: Location, path: KeyPath) -> Location:
    """Return a location in which one path is at `--set`."""
    if not path:
        return COMMAND_LINE
    key, *rest = path
    parts = dict(location.parts) if isinstance(location, Merged) else {}
    parts[key] = _overridden(location.at(key), tuple(rest))
    return Merged.of(location, parts)


def _position(location: Location) -> str:
    line = location.locate(location.path)
    return location.file if line is None else f"{location.file}:{line}"


def _block(value: Any, location: Location, file: str, indent: str) -> Iterator[str]:
    """Yield the lines of a mapping or list, other files as comments."""
    marks = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in marks:
        here = location.at(key)
        start = f"{indent}{_flow(key)}:" if isinstance(value, dict) else f"{indent}-"
        origins = set(_origins(inner, here))
        comment, within = "", file
        if len(origins) == 1 and (within := origins.pop()) != file:
            comment = f"  # from {_shown(within, file)}"
        line = f"{start} {_flow(inner)}{comment}"
        if not (isinstance(inner, dict | list) and inner) or (not origins and len(line) <= WIDTH):
            yield line
            continue
        block = _block(inner, here, within, f"{indent}  ")
        if isinstance(value, list):  # its first line goes behind the dash
            yield f"{start} {next(block).lstrip()}{comment}"
        else:
            yield f"{start}{comment}"
        yield from block


def _origins(value: Any, location: Location) -> Iterator[str]:
    """Yield the files of all nested values."""
    if not (isinstance(value, dict | list) and value):
        yield location.file
        return
    for key, inner in value.items() if isinstance(value, dict) else enumerate(value):
        yield from _origins(inner, location.at(key))


def _shown(file: str, other: str) -> str:
    """Return a file's name if in the same folder, else its path."""
    return Path(file).name if Path(file).parent == Path(other).parent else file


def _flow(value: Any) -> str:
    """Return a value as YAML of one line."""
    return dump_yaml([value], in_one_line=True).strip()[1:-1]
