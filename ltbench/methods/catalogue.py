"""What planning and tables need to know of the methods, as JSON that is read without torch.

`python -m ltbench.methods.catalogue` writes `catalogue.json` beside this file from the classes.
"""

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from ltbench.config.catalogue import OWN
from ltbench.methods import METHODS
from ltbench.methods.base import Hyper, Method
from ltbench.methods.cost import network_cost

PATH = Path(__file__).with_name("catalogue.json")


def describe(method: type[Method]) -> dict[str, Any]:
    """Return what the catalogue says of a method, as plain JSON values.

    `family` is the folder of its file; methods from outside the package have `OWN`.

    Raises:
        TypeError: where its hyper-parameters cannot be written down in one way.
    """
    if not issubclass(method.Hyper, Hyper):
        raise TypeError("its Hyper is not a subclass of ltbench.methods.base.Hyper")
    hyper = method.Hyper.model_json_schema()
    if '"uniqueItems": true' in json.dumps(hyper):
        raise TypeError("a set of hyper-parameters has no order, take a tuple")
    package = method.__module__.rpartition(".")[0]
    described = {
        "title": method.title,
        "family": package.rpartition(".")[2] if package.startswith("ltbench.methods.") else OWN,
        "category": method.category,
        "aliases": list(method.aliases),
        "paper": None if method.paper is None else asdict(method.paper),
        "version": method.version,
        "stages": [asdict(stage) for stage in method.stages],
        "start_from": method.start_from,
        "teachers": [asdict(teacher) for teacher in method.teachers],
        "coupling": method.coupling,
        "balanced_equals": method.balanced_equals,
        "test_time": method.test_time,
        "oracle": method.oracle,
        "hyper": hyper,
    }
    plain: dict[str, Any] = json.loads(json.dumps(described))
    return plain


@cache
def catalogue() -> str:
    """Return the text of the catalogue: every method by its key, always the same bytes."""
    methods = {
        key: describe(method) | {"cost": asdict(network_cost(method))}
        for key, method in METHODS.items()
    }
    return json.dumps(methods, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write the catalogue."""
    PATH.write_text(catalogue(), encoding="utf-8")


if __name__ == "__main__":
    main()
