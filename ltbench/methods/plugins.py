"""Methods and metrics of the user's own, from a Python file.

The modules beside the file are there to be imported, as for a script. What the file and these say
is part of the key of its jobs: a plugin that was edited has no records of before.
"""

import ast
import hashlib
import importlib
import importlib.util
import sys
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from types import ModuleType

from pydantic.errors import PydanticUserError

from ltbench.config.errors import ConfigError, Location, format_value
from ltbench.config.keys import content_hash
from ltbench.config.registry import MethodRegistry, method_info
from ltbench.config.yaml_file import display
from ltbench.methods import METHODS
from ltbench.methods.contract import Method
from ltbench.methods.registry import describe

Parts = tuple[str, ...]
"""A module's dotted name, from the plugin's folder down; that of the plugin itself is empty."""


@dataclass(frozen=True)
class Plugin:
    """What a Python file of the user's own defines.

    Attributes:
        methods: its methods by key.
        metrics: what it has as METRICS; nobody has looked at it yet.
        source: SHA-256 of the file and of all that it imports from its own folder.
    """

    methods: Mapping[str, type[Method]]
    metrics: object
    source: str

    def hash_of(self, key: str) -> str:
        """Return the hash of what a method says and of the versions of those that it extends."""
        extends = {
            name: base.version
            for name, base in METHODS.items()
            if issubclass(self.methods[key], base)
        }
        return content_hash([self.source, extends])


def with_plugins(registry: MethodRegistry, paths: Iterable[Path]) -> MethodRegistry:
    """Return a registry with the methods of plugins added.

    Raises:
        ConfigError: if a plugin cannot be used, or takes a key that is in use.
    """
    methods = dict(registry.methods)
    for path in paths:
        location = Location(display(path))
        plugin = import_plugin(path)
        for key, method in plugin.methods.items():
            if key in methods:
                raise location.error("duplicate", f"there is a method {format_value(key)} already")
            try:
                described = describe(method)
                own = {
                    "load_hparams": partial(getattr, method, "HParams"),
                    "plugin_hash": plugin.hash_of(key),
                }
            except (AttributeError, TypeError, ValueError, PydanticUserError) as error:
                message = f"{format_value(key)} is not a method: {error}"
                raise location.error("plugin", message) from error
            methods[key] = method_info(key, described, location).model_copy(update=own)
    return MethodRegistry(methods)


def find_method(key: str, plugins: Iterable[Path]) -> tuple[type[Method], str | None]:
    """Return a method's class, and the hash of its source where a plugin has it.

    Raises:
        ConfigError: if a plugin cannot be used.
        KeyError: for a method that neither METHODS nor a plugin has.
    """
    for plugin in [import_plugin(path) for path in plugins]:
        if key in plugin.methods:
            return plugin.methods[key], plugin.hash_of(key)
    return METHODS[key], None


def import_plugin(path: Path) -> Plugin:
    """Return what a Python file of the user's own defines, running it once a process.

    Raises:
        ConfigError: if there is no such file, it fails, or it has neither METHODS nor METRICS.
    """
    if not path.is_file():
        raise Location(display(path)).error("missing-file", "no such plugin")
    return _imported(path.resolve())


@cache
def _imported(path: Path) -> Plugin:
    location = Location(display(path))
    name = f"ltbench_plugin_{content_hash(str(path))[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise location.error("plugin", "is not a Python file")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # last, so that nothing else is shadowed
    importlib.invalidate_caches()
    module = importlib.util.module_from_spec(spec)
    writes, sys.dont_write_bytecode = sys.dont_write_bytecode, True  # it is stale within a second
    try:
        texts = {parts: file.read_bytes() for parts, file in _own_modules(path, location).items()}
        sys.modules[name] = module  # before it runs, as for any import: classes look it up
        spec.loader.exec_module(module)
    except ConfigError:
        raise
    except Exception as error:
        sys.modules.pop(name, None)
        reason = " ".join(str(error).split())
        message = f"fails on import: {type(error).__name__}: {reason}"
        raise location.error("plugin", message) from error
    finally:
        sys.dont_write_bytecode = writes
    metrics = getattr(module, "METRICS", None)
    methods = getattr(module, "METHODS", None if metrics is None else {})
    if not isinstance(methods, dict):
        message = "has no METHODS, a dict from key to class, and no METRICS, a list"
        raise location.error("plugin", message)
    hashes = {".".join(p): hashlib.sha256(text).hexdigest() for p, text in texts.items()}
    return Plugin(methods, metrics or (), content_hash(hashes))


def _own_modules(plugin: Path, location: Location) -> dict[Parts, Path]:
    """Return the files that a plugin is made of: its own, and what these import from its folder.

    Raises:
        ConfigError: where an import would give another module than the one in the folder.
    """
    found: dict[Parts, Path] = {}
    pending: list[tuple[Parts, Path]] = [((), plugin)]
    while pending:
        parts, file = pending.pop()
        if parts in found:
            continue
        found[parts] = file
        package = parts if file.name == "__init__.py" else parts[:-1]
        for wanted, relative in _imports(ast.parse(file.read_bytes()), package):
            inside = list(_files(plugin.parent, wanted))
            if inside and not relative:
                _check_import(wanted[0], plugin.parent, location)
            pending += inside
    return found


def _imports(tree: ast.AST, package: Parts) -> Iterator[tuple[Parts, bool]]:
    """Yield the names that a module imports anywhere, and whether each is one of its package."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((tuple(alias.name.split(".")), False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            start = package[: len(package) + 1 - node.level] if node.level else ()
            module = (*start, *(node.module.split(".") if node.module else ()))
            yield from (((*module, alias.name), node.level > 0) for alias in node.names)


def _files(folder: Path, name: Parts) -> Iterator[tuple[Parts, Path]]:
    """Yield the modules in a folder that importing a name runs: packages, then the module."""
    for end in range(1, len(name) + 1):
        place = folder.joinpath(*name[:end])
        for file in (place / "__init__.py", place.with_suffix(".py")):
            if file.is_file() and name[0] != "ltbench":
                yield name[:end], file
                break


def _check_import(name: str, folder: Path, location: Location) -> None:
    """Refuse a module of a plugin's folder that another module of that name stands before."""
    loaded: ModuleType | None = sys.modules.get(name)
    spec = importlib.util.find_spec(name) if loaded is None else loaded.__spec__
    places = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
    own = {folder / name, folder / f"{name}.py", folder / name / "__init__.py"}
    if own.isdisjoint(Path(place).resolve() for place in places if place):
        raise location.error(
            "plugin",
            f"imports {format_value(name)} from its folder, but there is another module of that "
            f"name, {places[0] if places else 'of Python itself'}: give it another",
        )
