"""Methods from outside the package: a Python file of the user's own that has METHODS."""

import importlib.util
import sys
from collections.abc import Iterable
from pathlib import Path

from ltbench.config.catalogue import Catalogue, method_info
from ltbench.config.errors import Source, show
from ltbench.config.keys import content_hash
from ltbench.config.yaml_file import display
from ltbench.methods.base import Method
from ltbench.methods.catalogue import describe


def with_plugins(catalogue: Catalogue, paths: Iterable[Path]) -> Catalogue:
    """Return a catalogue with the methods of plugins added.

    Raises:
        ConfigError: if a plugin cannot be used, or takes a key that is in use.
    """
    methods = dict(catalogue.methods)
    for path in paths:
        source = Source(display(path))
        for key, method in import_plugin(path).items():
            if key in methods:
                raise source.error(f"there is a method {show(key)} already")
            try:
                described = describe(method)
            except (AttributeError, TypeError) as error:
                raise source.error(f"{show(key)} is not a method: {error}") from error
            methods[key] = method_info(key, described, source)
    return Catalogue(methods)


def import_plugin(path: Path) -> dict[str, type[Method]]:
    """Return the METHODS of a Python file of the user's own, running it once a process.

    Raises:
        ConfigError: if there is no such file, it fails, or it has no METHODS.
    """
    source = Source(display(path))
    if not path.is_file():
        raise source.error("no such plugin")
    name = f"ltbench_plugin_{content_hash(str(path.resolve()))[:8]}"
    if name not in sys.modules:
        spec = importlib.util.spec_from_file_location(name, path)
        if spec is None or spec.loader is None:
            raise source.error("is not a Python file")
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module  # before it runs, as for any import: classes look it up
        try:
            spec.loader.exec_module(module)
        except Exception as error:
            del sys.modules[name]
            reason = " ".join(str(error).split())
            raise source.error(f"fails on import: {type(error).__name__}: {reason}") from error
    methods = getattr(sys.modules[name], "METHODS", None)
    if not isinstance(methods, dict):
        raise source.error("has no METHODS, a dict from key to class")
    return methods
