import json
import re
from itertools import product
from pathlib import Path
from typing import Annotated

import pytest
from pydantic import AfterValidator, Field, model_validator

from ltbench.config.errors import ConfigError, Location
from ltbench.config.hparams import HParamResolver
from ltbench.config.load import load_dataset
from ltbench.config.registry import MethodRegistry, load_registry
from ltbench.config.validation import validate
from ltbench.launch import plan
from ltbench.launch.plan import read_registry
from ltbench.methods import METHODS
from ltbench.methods.contract import HParams, Method
from ltbench.methods.registry import PATH, describe, registry
from tests.support.errors import problems

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


def test_the_committed_registry_is_up_to_date():
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


@pytest.mark.parametrize(
    ("method", "values"),
    [
        ("seesaw", {"scale": 5.0}),
        ("class_balanced", {"gamma": 7.0}),
        ("ldam_drw", {"deferred": "none", "beta": 0.5}),
        ("realistic_taxonomic", {"groups": [3], "taxonomy": [[0, 1]]}),
        ("rsg", {"loss": "softmax", "max_margin": 0.2}),
        ("rsg", {"deferred": "drs", "beta": 0.5}),
        ("ncl", {"scale": 5.0}),
        ("m2m", {"translations": False, "steps": 5}),
        ("mislas", {"power": 2.0}),
        ("domain_balancing", {"residual": False, "weight": 1.0}),
    ],
)
def test_hyper_parameters_without_effect_are_refused_with_and_without_torch(method, values):
    for model in (load_registry()[method].hparams_model, METHODS[method].HParams):
        found = problems(lambda model=model: validate(model, values, Location("x")))
        assert found == [("x", "", "no-effect")]


def test_a_taxonomy_that_does_not_fit_the_dataset_is_refused_without_torch():
    taxonomy = [[0] * 10, [0, 1] * 5, [0] * 10, [0]]
    spec, resolver = load_dataset("cifar10"), HParamResolver(load_registry())

    def resolve(levels):
        return resolver.resolve("realistic_taxonomic", {"taxonomy": levels}, spec)

    assert problems(lambda: resolve(taxonomy)) == [("hparams", "taxonomy", "conflict")] * 2
    assert resolve(taxonomy[:2]).values["taxonomy"] == taxonomy[:2]


def accepts(model, values):
    try:
        return validate(model, values, Location("hparams")).model_dump(mode="json")
    except ConfigError as error:
        return [(problem.path, problem.code, problem.message) for problem in error.problems]


@pytest.mark.parametrize("key", METHODS)
def test_a_plan_takes_the_hyper_parameters_that_the_class_takes(key):
    """Plan and class fill in the same defaults and refuse the same values."""
    own, planned = METHODS[key].HParams, read_registry()[key]
    assert (planned.hparams_model is own) == planned.validates_hparams
    for name, probe in product([*own.model_fields, "unknown"], [..., *PROBES]):
        values = {} if probe is ... else {name: probe}
        verdict = accepts(own, values)
        assert accepts(planned.hparams_model, values) == verdict, (name, probe)
        if isinstance(verdict, dict):
            filled = planned.validate_hparams(values)
            assert accepts(own, filled) == filled == verdict, (name, probe)


@pytest.mark.parametrize("key", METHODS)
def test_a_method_is_marked_where_its_class_forbids_what_a_schema_cannot_say(key):
    checks = METHODS[key].HParams.__pydantic_decorators__
    calls = bool(checks.model_validators or checks.field_validators)
    assert load_registry()[key].validates_hparams == calls


class Ordered(HParams):
    low: float = Field(0.0, description="Lower bound.")
    high: float = Field(1.0, description="Upper bound.")

    @model_validator(mode="after")
    def _order(self):
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


class Even(HParams):
    count: Annotated[int, AfterValidator(lambda n: n - n % 2)] = Field(2, description="A number.")


class Nested(HParams):
    inner: tuple[Ordered, ...] = Field((), description="Bounds.")


@pytest.mark.parametrize("hparams", [Ordered, Even, Nested])
def test_a_class_with_validators_is_marked(hparams):
    kind = type("Kind", (METHODS["softmax"],), {"HParams": hparams})
    assert describe(kind)["validates_hparams"]


def test_a_plan_asks_the_class_of_a_marked_method(monkeypatch):
    kind = type("Kind", (METHODS["focal"],), {"HParams": Ordered})
    marked = load_registry()["focal"].model_copy(update=describe(kind))
    known = MethodRegistry({**load_registry().methods, "focal": marked})
    monkeypatch.setitem(METHODS, "focal", kind)
    monkeypatch.setattr(plan, "load_registry", lambda: known)
    variants = "[{label: A, method: focal, hparams: {low: 2}}, {label: B, method: focal}]"
    sets = (f"grid.variants={variants}", "hparams.B.high=-1")
    assert problems(lambda: plan.make_plan(plan.Request("quickstart", sets))) == [
        ("--set", "grid.variants[0].hparams", "conflict"),
        ("--set", "hparams.B", "conflict"),
    ]


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
