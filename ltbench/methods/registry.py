"""Writer of registry.json: facts about all methods, read without torch.

Planning, the command line and tables read that file instead of the classes;
`python -m ltbench.methods.registry` writes it anew.
"""

import json
from dataclasses import asdict
from functools import cache
from pathlib import Path
from typing import Any

from ltbench.config.registry import OWN_FAMILY
from ltbench.methods import METHODS
from ltbench.methods.contract import HParams, Method
from ltbench.methods.cost import OTHERS, network_cost

PATH = Path(__file__).with_name("registry.json")


def describe(method: type[Method]) -> dict[str, Any]:
    """Return a method's entry in the registry, as JSON values.

    `family` is the folder of its file, and `OWN_FAMILY` for plugins.

    Raises:
        TypeError: if `HParams` is not a subclass of the contract's, or has a set, whose order and
            so whose key is not defined.
    """
    if not issubclass(method.HParams, HParams):
        raise TypeError("its HParams is not a subclass of ltbench.methods.contract.HParams")
    hparams = method.HParams.model_json_schema()
    if '"uniqueItems": true' in json.dumps(hparams):
        raise TypeError("a hyper-parameter is a set, which has no order: use a tuple")
    package = method.__module__.rpartition(".")[0]
    shipped = package.startswith("ltbench.methods.")
    described = {
        "title": method.title,
        "family": package.rpartition(".")[2] if shipped else OWN_FAMILY,
        "category": method.category,
        "aliases": list(method.aliases),
        "paper": None if method.paper is None else asdict(method.paper),
        "version": method.version,
        "stages": [asdict(stage) for stage in method.stages],
        "init_from": method.init_from,
        "teachers": [asdict(teacher) for teacher in method.teachers],
        "batch_dependence": method.batch_dependence,
        "reduces_to": method.reduces_to,
        "test_time": method.test_time,
        "oracle": method.oracle,
        "oracle_by_others": method.oracle_by_others,
        "own_reading": method.own_reading,
        "hparams": hparams,
        "validates_hparams": _has_validators(method.HParams.__pydantic_core_schema__),
    }
    values: dict[str, Any] = json.loads(json.dumps(described))
    return values


def _has_validators(schema: Any) -> bool:
    """Return whether a pydantic core schema has validators, unlike a JSON schema."""
    if isinstance(schema, list | tuple):
        return any(map(_has_validators, schema))
    if not isinstance(schema, dict):
        return False
    calls = str(schema.get("type", "")).startswith("function-")
    return calls or any(map(_has_validators, schema.values()))


@cache
def registry() -> str:
    """Return the content of registry.json, every method by its key."""
    methods = {
        key: describe(method)
        | {
            "cost": asdict(network_cost(method)),
            "other_costs": {name: asdict(network_cost(method, name)) for name in OTHERS},
        }
        for key, method in METHODS.items()
    }
    return json.dumps(methods, indent=2, ensure_ascii=False) + "\n"


def main() -> None:
    """Write registry.json."""
    PATH.write_text(registry(), encoding="utf-8")


if __name__ == "__main__":
    main()
