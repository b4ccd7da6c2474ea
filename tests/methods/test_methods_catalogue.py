import json

from ltbench.methods import METHODS
from ltbench.methods.base import Hyper, Method
from ltbench.methods.catalogue import PATH, catalogue, describe

SCALARS = {"number", "integer", "boolean", "string", "null"}


def test_the_committed_catalogue_is_up_to_date():
    assert PATH.read_text(encoding="utf-8") == catalogue(), (
        "run python -m ltbench.methods.catalogue"
    )


def test_every_method_has_what_planning_needs():
    methods = json.loads(catalogue())
    assert list(methods) == list(METHODS)
    assert methods["crt"]["family"] == "module_improvement"
    assert methods["crt"]["stages"][0]["samplers"] == ["class_balanced"]
    assert methods["crt"]["paper"]["year"] == 2020
    for method in methods.values():
        for field in method["hyper"].get("properties", {}).values():
            assert {"default", "description"} <= field.keys()
            kinds = field.get("anyOf", [field])
            assert all(kind["type"] in SCALARS for kind in kinds)


def test_a_method_from_outside_the_package_is_described():
    class Own(Method):
        title, paper, category = "Own", None, "baseline"

    assert describe(Own)["family"] == "own"
    assert describe(Own)["hyper"] == json.loads(json.dumps(Hyper.model_json_schema()))
