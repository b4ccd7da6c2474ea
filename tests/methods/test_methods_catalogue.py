import json
import re
from itertools import product
from pathlib import Path

import pytest

from ltbench.config.errors import ConfigError, Location
from ltbench.config.registry import load_registry
from ltbench.config.validation import validate
from ltbench.methods import METHODS
from ltbench.methods.contract import HParams, Method
from ltbench.methods.registry import PATH, describe, registry

TESTS = Path(__file__).parent.parent
PROBES = [
    True,
    0,
    1,
    2,
    -1,
    10**6,
    0.5,
    -0.5,
    1.5,
    1e-9,
    30.0,
    "x",
    "none",
    "drw",
    "moco",
    None,
    [],
    [1],
    {},
]


def test_the_committed_catalogue_is_up_to_date():
    assert PATH.read_text(encoding="utf-8") == registry(), "run python -m ltbench.methods.registry"


def test_every_method_has_what_planning_needs():
    methods = json.loads(registry())
    assert list(methods) == list(METHODS)
    assert methods["crt"]["family"] == "module_improvement"
    assert methods["crt"]["stages"][0]["samplers"] == ["class_balanced"]
    assert methods["crt"]["paper"]["year"] == 2020
    for method in methods.values():
        for field in method["hparams"].get("properties", {}).values():
            assert {"default", "description"} <= field.keys()


def accepts(model, values):
    try:
        return validate(model, values, Location("hparams")).model_dump(mode="json")
    except ConfigError as error:
        return [(problem.path, problem.code, problem.message) for problem in error.problems]


@pytest.mark.parametrize("key", METHODS)
def test_the_catalogue_takes_the_values_that_the_class_takes(key):
    own, known = METHODS[key].HParams, load_registry()[key].hparams_model
    assert own is not known
    assert accepts(own, {}) == accepts(known, {})
    for name, probe in product([*own.model_fields, "unknown"], PROBES):
        assert accepts(own, {name: probe}) == accepts(known, {name: probe}), (name, probe)


@pytest.mark.parametrize("key", METHODS)
def test_no_method_of_the_package_forbids_what_its_schema_cannot_say(key):
    checks = METHODS[key].HParams.__pydantic_decorators__
    assert not checks.model_validators
    assert not checks.field_validators


def test_parameters_are_those_that_records_count():
    methods = json.loads(registry())
    # ResNet-32 (option A, He et al. 2016) has 464,154 with ten classes; a class more costs 65.
    assert methods["softmax"]["cost"]["parameters"] == 464_154 + 90 * 65
    assert methods["softmax"]["cost"]["megaflops"] == pytest.approx(2 * 68.9, abs=0.2)
    extra = {key: m["cost"]["parameters"] - 470_004 for key, m in methods.items()}
    assert extra["balanced_softmax"] == 0
    assert extra["lws"] == 100
    assert extra["ride"] > 0


def test_oracles_that_methods_name_are_there_and_tested():
    tested = set()
    for path in TESTS.rglob("test_*.py"):
        tested |= set(re.findall(r'\boracle\(\s*"(\w+)"', path.read_text(encoding="utf-8")))
    for key, method in METHODS.items():
        if method.oracle is not None:
            assert (TESTS / "oracles" / f"{method.oracle}.npz").exists(), key
            assert method.oracle in tested, key


def test_a_method_from_outside_the_package_is_described():
    class Own(Method):
        title, paper, category = "Own", None, "baseline"

    assert describe(Own)["family"] == "own"
    assert describe(Own)["hparams"] == json.loads(json.dumps(HParams.model_json_schema()))
