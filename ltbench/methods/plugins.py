"""Plugins: methods and metrics from a user's Python file.

A plugin may import modules of its folder, as a script may. The bytes of the file and of these
modules are part of the key of its jobs: after an edit, old records are stale.
"""

import ast
import hashlib
import importlib
import importlib.util
import inspect
import sys
import traceback
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, replace
from functools import cache, partial
from pathlib import Path
from types import ModuleType

from pydantic.errors import PydanticUserError

from ltbench.config.errors import (
    ConfigError,
    Location,
    Problem,
    collect_errors,
    did_you_mean,
    format_value,
    raise_all,
)
from ltbench.config.files import missing_plugins
from ltbench.config.keys import content_hash
from ltbench.config.registry import MethodInfo, MethodRegistry, method_info
from ltbench.config.yaml_file import display
from ltbench.methods import METHODS
from ltbench.methods.contract import Method
from ltbench.methods.registry import describe
from ltbench.samplers.draw import SAMPLERS, parse_sampler

Parts = tuple[str, ...]
"""A module's dotted name, relative to the plugin's folder; () for the plugin itself."""


@dataclass(frozen=True)
class Plugin:
    """Contents of a plugin.

    Attributes:
        methods: its METHODS, by key.
        metrics: its METRICS, not yet validated.
        source: hash of the file and of all that it imports from its folder.
    """

    methods: Mapping[str, type[Method]]
    metrics: object
    source: str

    def hash_of(self, key: str) -> str:
        """Return the hash of a method's source.

        The versions of ltbench's methods that it extends are part of it.
        """
        bases = {
            name: base.version
            for name, base in METHODS.items()
            if issubclass(self.methods[key], base)
        }
        return content_hash([self.source, bases])


def with_plugins(registry: MethodRegistry, paths: Iterable[Path]) -> MethodRegistry:
    """Return a registry extended by the methods of plugins.

    Raises:
        ConfigError: naming every plugin that cannot be used and every key that exists already.
    """
    methods = dict(registry.methods)
    problems: list[Problem] = []
    for path in paths:
        location = Location(display(path))
        with collect_errors(problems):
            plugin = import_plugin(path)
            for key in plugin.methods:
                with collect_errors(problems):
                    if key in methods:
                        message = f"a method {format_value(key)} exists already: choose another key"
                        raise location.error("duplicate", message)
                    methods[key] = _method_info(plugin, key, location)
    raise_all(problems)
    return MethodRegistry(methods)


def _method_info(plugin: Plugin, key: str, location: Location) -> MethodInfo:
    """Return the registry's entry of a plugin's method.

    Raises:
        ConfigError: if it is no valid method.
    """
    method = plugin.methods[key]
    try:
        described = describe(method)
        own = {
            "load_hparams": partial(getattr, method, "HParams"),
            "plugin_hash": plugin.hash_of(key),
        }
    except (AttributeError, TypeError, ValueError, PydanticUserError) as error:
        message = f"{format_value(key)} is not a method: {error}"
        raise location.error("plugin", message) from error
    _check_samplers(method, location.at(key))
    return method_info(key, described, location).model_copy(update=own)


def _check_samplers(method: type[Method], location: Location) -> None:
    """Refuse samplers that there are not, under any hyper-parameters.

    Raises:
        ConfigError: naming each, with the nearest one and the line of the class.
    """
    location = replace(location, locate=lambda _: _line_of(method))
    raise_all(
        location.at("stages", i, "samplers").problem(
            "unknown-value", f"no sampler {format_value(name)}", did_you_mean(name, SAMPLERS)
        )
        for i, stage in enumerate(method.stages)
        for fields in ({"samplers": stage.samplers}, *(changed for _, changed in stage.changes))
        for name in fields.get("samplers", ())
        if parse_sampler(name) is None
    )


def _line_of(method: type[Method]) -> int | None:
    """Return the line of a class in its file, or None."""
    try:
        return inspect.getsourcelines(method)[1]
    except OSError:
        return None


def find_method(key: str, plugins: Iterable[Path]) -> tuple[type[Method], str | None]:
    """Return a method's class, and the hash of its plugin's source.

    The hash is None for ltbench's own methods.

    Raises:
        ConfigError: if a plugin cannot be used.
        KeyError: if neither METHODS nor a plugin has the method.
    """
    for plugin in [import_plugin(path) for path in plugins]:
        if key in plugin.methods:
            return plugin.methods[key], plugin.hash_of(key)
    return METHODS[key], None


def import_plugin(path: Path) -> Plugin:
    """Import a plugin, once per process.

    Raises:
        ConfigError: if there is no such file, it fails, or it has neither METHODS nor METRICS.
    """
    raise_all(missing_plugins([path]))
    return _import(path.resolve())


@cache
def _import(path: Path) -> Plugin:
    location = Location(display(path))
    name = f"ltbench_plugin_{content_hash(str(path))[:8]}"
    spec = importlib.util.spec_from_file_location(name, path)
    if spec is None or spec.loader is None:
        raise location.error("plugin", "is not a Python file")
    if str(path.parent) not in sys.path:
        sys.path.append(str(path.parent))  # last, so that nothing else is shadowed
    importlib.invalidate_caches()
    module = importlib.util.module_from_spec(spec)
    # Bytecode is told from source by seconds, so that an edit within one would go unseen.
    keep, sys.dont_write_bytecode = sys.dont_write_bytecode, True
    try:
        files = _local_modules(path, location)
        sources = {parts: file.read_bytes() for parts, file in files.items()}
        sys.modules[name] = module  # before it runs, as for any import: classes look it up
        spec.loader.exec_module(module)
    except ConfigError:
        raise
    except (Exception, SystemExit) as error:  # as of a script's sys.exit
        sys.modules.pop(name, None)
        reason = " ".join(str(error).split())
        message = f"fails on import: {type(error).__name__}: {reason}"
        line = _line_of_error(error, path)
        located = replace(location, locate=lambda _: line)
        raise located.error("plugin", message) from error
    finally:
        sys.dont_write_bytecode = keep
    metrics = getattr(module, "METRICS", None)
    methods = getattr(module, "METHODS", None if metrics is None else {})
    if not isinstance(methods, dict) or (not methods and metrics is None):
        message = "needs METHODS, a dict from key to class, or METRICS, a list"
        raise location.error("plugin", message)
    raise_all(
        location.at(str(key)).problem("plugin", f"expected a class, got {format_value(repr(kind))}")
        for key, kind in methods.items()
        if not isinstance(kind, type)
    )
    hashes = {".".join(p): hashlib.sha256(source).hexdigest() for p, source in sources.items()}
    return Plugin(methods, metrics or (), content_hash(hashes))


def _line_of_error(error: BaseException, path: Path) -> int | None:
    """Return the last line of an error in a file, or None."""
    if isinstance(error, SyntaxError) and error.filename in (path.name, str(path)):
        return error.lineno
    frames = traceback.extract_tb(error.__traceback__)
    return next((f.lineno for f in reversed(frames) if f.filename == str(path)), None)


def _local_modules(plugin: Path, location: Location) -> dict[Parts, Path]:
    """Return the files of a plugin and of its local imports.

    Raises:
        ConfigError: if an import from the folder would give another module of that name.
    """
    modules: dict[Parts, Path] = {}
    pending: list[tuple[Parts, Path]] = [((), plugin)]
    while pending:
        parts, file = pending.pop()
        if parts in modules:
            continue
        modules[parts] = file
        package = parts if file.name == "__init__.py" else parts[:-1]
        for imported, relative in _imports(ast.parse(file.read_bytes(), file.name), package):
            local = list(_files(plugin.parent, imported))
            if local and not relative:
                _check_import(imported[0], plugin.parent, location)
            pending += local
    return modules


def _imports(tree: ast.AST, package: Parts) -> Iterator[tuple[Parts, bool]]:
    """Yield each imported name, and whether the import is relative."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from ((tuple(alias.name.split(".")), False) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            parent = package[: len(package) + 1 - node.level] if node.level else ()
            module = (*parent, *(node.module.split(".") if node.module else ()))
            yield from (((*module, alias.name), node.level > 0) for alias in node.names)


def _files(folder: Path, name: Parts) -> Iterator[tuple[Parts, Path]]:
    """Yield the modules in a folder that an import runs, packages first."""
    for end in range(1, len(name) + 1):
        path = folder.joinpath(*name[:end])
        for file in (path / "__init__.py", path.with_suffix(".py")):
            if file.is_file() and name[0] != "ltbench":
                yield name[:end], file
                break


def _check_import(name: str, folder: Path, location: Location) -> None:
    """Refuse a module of a plugin's folder that another one shadows."""
    loaded: ModuleType | None = sys.modules.get(name)
    spec = importlib.util.find_spec(name) if loaded is None else loaded.__spec__
    paths = [] if spec is None else [spec.origin, *(spec.submodule_search_locations or ())]
    local = {folder / name, folder / f"{name}.py", folder / name / "__init__.py"}
    if local.isdisjoint(Path(path).resolve() for path in paths if path):
        raise location.error(
            "plugin",
            f"imports {format_value(name)} from its folder, but another module has that name "
            f"({paths[0] if paths else 'a built-in of Python'}): rename the one in the folder",
        )
