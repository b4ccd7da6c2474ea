import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pydantic import BaseModel, ConfigDict, model_validator

from ltbench.config.errors import ConfigError
from ltbench.config.files import available
from ltbench.config.grid import DatasetChoice, Grid
from ltbench.config.hparams import HParamResolver
from ltbench.config.load import (
    expand_dataset,
    load_dataset,
    load_grid,
    load_recipe,
    schema,
)
from ltbench.config.overrides import parse_overrides
from ltbench.config.registry import MethodRegistry, load_registry
from tests.support.errors import problems, problems_of, suggested
from tests.support.toy_project import DATASET, GRID, RECIPE

GRID_FILE, RULES_FILE = "configs/grids/toys.yaml", "configs/methods/ldam_drw.yaml"


def test_names_are_those_of_the_files(project):
    assert load_dataset("toys").name == "toys"
    assert load_recipe("short").name == "short"
    assert load_grid("toys").name == "toys"
    assert available("grids") == ["toys"]
    assert available("methods") == []


def test_a_grid_is_read_as_written(project):
    grid = load_grid("toys")
    assert [(v.label, v.method, v.hparams) for v in grid.variants] == [
        ("softmax", "softmax", {}),
        ("LDAM", "ldam_drw", {"deferred": "none"}),
        ("LDAM-DRW", "ldam_drw", {}),
    ]
    assert (grid.splits, grid.seeds) == (("longtailed",), (0,))
    assert grid.datasets == (DatasetChoice(name="toys"),)


def test_a_name_inside_a_file_is_an_unknown_key(project):
    project("grids/toys.yaml", "name: toys\n" + GRID)
    assert problems(lambda: load_grid("toys")) == [(f"{GRID_FILE}:1", "name", "unknown-key")]
    (fields,) = suggested(lambda: load_grid("toys"))
    assert set(fields) == set(Grid.model_fields) - {"name"}


def test_unknown_names_list_the_near_ones(project):
    unknown = {
        "dataset": lambda: load_dataset("toy"),
        "recipe": lambda: load_recipe("zzz"),
        "grid": lambda: load_grid("tois"),
    }
    for kind, load in unknown.items():
        assert problems(load) == [(f"configs/{kind}s", "", f"unknown-{kind}")]
    assert [suggested(load) for load in unknown.values()] == [[["toys"]], [["short"]], [["toys"]]]
    for name in ("../grids/toys", "a\0b", "n" * 300, ""):
        assert problems(lambda name=name: load_dataset(name)) == [
            ("configs/datasets", "", "unknown-dataset")
        ]


def test_a_grid_is_found_by_name_or_path(project, tmp_path):
    elsewhere = tmp_path / "elsewhere.yaml"
    elsewhere.write_text(GRID)
    for where in (elsewhere, str(elsewhere), "elsewhere.yaml", "./elsewhere.yaml"):
        assert load_grid(where).name == "elsewhere"
    assert problems(lambda: load_grid("none.yaml")) == [("none.yaml", "", "missing-file")]


def test_the_working_directory_comes_before_the_package(project, tmp_path):
    for root, title in (("installed/configs", "checkout"), ("installed/ltbench/_configs", "wheel")):
        folder = tmp_path / root / "recipes"
        folder.mkdir(parents=True)
        for name in ("short", "long"):
            (folder / f"{name}.yaml").write_text(RECIPE.replace("Short", title))
        assert load_recipe("short").title == "Short"
        assert load_recipe("long").title == title  # a wheel's own before what lies beside it
    assert available("recipes") == ["long", "short"]


def test_all_problems_of_a_grid_at_once(project, registry):
    project(
        "grids/toys.yaml",
        """\
        titel: Toys
        datasets: [toy, {name: toys, imbalance_type: natural, imbalance_ratio: 5}]
        recipes: [shrot]
        seeds: [0, one]
        variants:
          - softmax
          - balanced_sofmax
          - {label: A, method: ldam_drw, hparams: {deferred: never, scael: 1}}
          - {label: B, method: crt, init_from: balanced_softmaxx}
          - {label: C, method: softmax, init_from: AA}
          - {label: D, method: crt, recipe: shor}
        """,
    )
    found = problems_of(lambda: load_grid("toys", registry=registry))
    assert {problem.file for problem in found} == {GRID_FILE}
    assert [(p.line, p.path, p.code, p.suggestion) for p in found] == [
        (1, "title", "missing-key", None),
        (1, "titel", "unknown-key", 'did you mean "title"?'),
        (2, "datasets[0].name", "unknown-dataset", 'did you mean "toys"?'),
        (2, "datasets[1].imbalance_ratio", "conflict", None),
        (3, "recipes[0]", "unknown-recipe", 'did you mean "short"?'),
        (4, "seeds[1]", "wrong-type", None),
        (
            7,
            "variants[1].method",
            "unknown-method",
            'did you mean "balanced_softmax"? --plugin FILE adds methods of your own',
        ),
        (8, "variants[2].hparams.deferred", "unknown-value", None),
        (8, "variants[2].hparams.scael", "unknown-key", 'did you mean "scale"?'),
        (
            *(9, "variants[3].init_from", "unknown-variant"),
            'did you mean "balanced_softmax" or "balanced_sofmax"?',
        ),
        (10, "variants[4].init_from", "unknown-variant", 'did you mean "A"?'),
        (11, "variants[5].recipe", "unknown-recipe", 'did you mean "short"?'),
    ]


def test_a_variant_starts_from_a_label_or_a_method(project, registry):
    for start in ("LDAM-DRW", "balanced_softmax"):
        project("grids/toys.yaml", GRID + f"  - {{label: cRT, method: crt, init_from: {start}}}\n")
        assert load_grid("toys", registry=registry).variants[-1].init_from == start


def test_a_variant_with_an_alias_has_the_method_under_its_key(project):
    variants = "[{label: TADE, method: tade}, {label: cRT, method: crt, init_from: tade}]"
    project("grids/toys.yaml", f"{GRID[: GRID.index('variants')]}variants: {variants}\n")
    shipped = load_registry()
    experts, crt = load_grid("toys", registry=shipped).variants
    assert (experts.label, experts.method) == ("TADE", "sade")
    assert crt.init_from == "sade"
    assert shipped.get("tade") is shipped["sade"]
    assert "tade" in shipped
    assert "tade" not in list(shipped)


def test_problems_of_named_files_show_in_the_grid(project, registry):
    project("datasets/toys.yaml", DATASET.replace("classes: 10", "classes: 1"))
    project(
        "recipes/short.yaml", RECIPE.replace("deferred_from_epoch: 24", "deferred_from_epoch: 31")
    )
    assert problems(lambda: load_grid("toys", registry=registry)) == [
        ("configs/datasets/toys.yaml:3", "classes", "out-of-range"),
        ("configs/recipes/short.yaml:4", "stage1", "conflict"),
    ]


def test_a_choice_imposes_ratios_and_imbalance_type(project):
    def ids(**choice):
        return [spec.id for spec in expand_dataset(DatasetChoice(name="toys", **choice))]

    assert ids() == ["toys_r20"]
    assert ids(imbalance_ratio=50) == ["toys_r50"]
    assert ids(imbalance_ratio=(100, 10), imbalance_type="step") == [
        "toys_step_r100",
        "toys_step_r10",
    ]
    assert ids(imbalance_ratio=(10, 10)) == ["toys_r10"]
    assert ids(imbalance_type="natural") == ["toys"]


def method_rules(method, spec, registry):
    """Return the hyper-parameters that the rules of configs/methods set on a dataset."""
    rules, _ = HParamResolver(registry).rules(method)
    return {name: value for name, (_, value) in rules.for_dataset(spec).items()}


RULES = """\
rules:
  - {when: {}, hparams: {scale: 20}, source: all}
  - when: {dataset: toys, imbalance_ratio: [50, 100]}
    hparams: {scale: 10, deferred: drs}
    source: Table 1
  - {when: {dataset: [other, toys], imbalance_ratio: 100}, hparams: {scale: 5}, source: Table 2}
"""


def test_rules_match_dataset_and_ratio_and_later_ones_win(project, registry):
    project("methods/ldam_drw.yaml", RULES)
    project("datasets/other.yaml", DATASET)

    def rules(**choice):
        (spec,) = expand_dataset(DatasetChoice(**choice))
        return method_rules("ldam_drw", spec, registry)

    assert rules(name="toys") == {"scale": 20}
    assert rules(name="toys", imbalance_ratio=50) == {"scale": 10, "deferred": "drs"}
    assert rules(name="toys", imbalance_ratio=100) == {"scale": 5, "deferred": "drs"}
    assert rules(name="other", imbalance_ratio=50) == {"scale": 20}
    assert rules(name="other", imbalance_type="natural") == {"scale": 20}
    assert method_rules("softmax", load_dataset("toys"), registry) == {}


@pytest.mark.parametrize(
    ("when", "matches"),
    [
        ("classes: {max: 10}", True),
        ("classes: {max: 9}", False),
        ("classes: {min: 11}", False),
        ("classes: {min: 10, max: 10}", True),
        ("image_size: {min: 9}", False),
        ("image_size: {max: 8}, classes: {min: 2}, imbalance_ratio: 20", True),
        ("image_size: {max: 8}, imbalance_ratio: 100", False),
    ],
)
def test_rules_match_classes_and_size_of_images(project, registry, when, matches):
    rule = f"{{when: {{{when}}}, hparams: {{scale: 20}}, source: all}}"
    project("methods/ldam_drw.yaml", f"rules: [{rule}]\n")
    expected = {"scale": 20} if matches else {}
    assert method_rules("ldam_drw", load_dataset("toys"), registry) == expected


def test_a_range_of_a_rule_holds_a_number(project, registry):
    rule = "  - {{when: {{classes: {}}}, hparams: {{scale: 20}}, source: all}}\n"
    ranges = ("{}", "{min: 11, max: 10}", "ten", "{min: 1.5}")
    project("methods/ldam_drw.yaml", "rules:\n" + "".join(map(rule.format, ranges)))
    assert problems(lambda: method_rules("ldam_drw", load_dataset("toys"), registry)) == [
        (f"{RULES_FILE}:2", "rules[0].when.classes", "conflict"),
        (f"{RULES_FILE}:3", "rules[1].when.classes", "conflict"),
        (f"{RULES_FILE}:4", "rules[2].when.classes", "wrong-type"),
        (f"{RULES_FILE}:5", "rules[3].when.classes.min", "wrong-type"),
    ]


def test_all_problems_of_rules_at_once(project, registry):
    project("methods/ldam_drw.yaml", RULES.replace("scale: 20", "scale: 0").replace("drs", "rds"))

    def found():
        return problems(lambda: method_rules("ldam_drw", load_dataset("toys"), registry))

    assert found() == [
        (f"{RULES_FILE}:2", "rules[0].hparams.scale", "out-of-range"),
        (f"{RULES_FILE}:4", "rules[1].hparams.deferred", "unknown-value"),
        (f"{RULES_FILE}:6", "rules[2].when.dataset", "unknown-dataset"),
    ]
    project("methods/ldam_drw.yaml", "rules:\n  - {when: {datasets: toys}, hparams: {}}\n")
    assert found() == [
        (f"{RULES_FILE}:2", "rules[0].when.datasets", "unknown-key"),
        (f"{RULES_FILE}:2", "rules[0].hparams", "out-of-range"),
        (f"{RULES_FILE}:2", "rules[0].source", "missing-key"),
    ]


OWN_FILE = "configs/methods/own.yaml"
OWN_RULE = "  - {when: {imbalance_ratio: 50}, hparams: {deferred: none}, source: own}\n"


@pytest.fixture
def extending(project, registry):
    """Return the rules of a method on toys of ratio 50; methods `own` and `other` extend rules."""
    project("methods/ldam_drw.yaml", RULES)
    project("datasets/other.yaml", DATASET)
    ldam = registry["ldam_drw"]
    scale = {"properties": {"scale": ldam.hparams["properties"]["scale"]}}
    methods = dict(registry.methods)
    methods["own"] = ldam.model_copy(update={"key": "own"})
    methods["other"] = ldam.model_copy(update={"key": "other", "hparams": scale})
    (spec,) = expand_dataset(DatasetChoice(name="toys", imbalance_ratio=50))
    return lambda method: method_rules(method, spec, MethodRegistry(methods))


def test_rules_extend_those_of_another_method(project, extending):
    project("methods/own.yaml", "extends: ldam_drw\n")
    assert extending("own") == {"scale": 10, "deferred": "drs"}
    project("methods/own.yaml", f"extends: ldam_drw\nrules:\n{OWN_RULE}")
    assert extending("own") == {"scale": 10, "deferred": "none"}
    project("methods/other.yaml", "extends: own\n")  # which has no `deferred`
    assert extending("other") == {"scale": 10}


def test_rules_are_located_in_the_file_that_they_stand_in(project, registry):
    project("methods/ldam_drw.yaml", RULES)
    project("methods/crt.yaml", f"extends: ldam_drw\nrules:\n{OWN_RULE}")
    project("datasets/other.yaml", DATASET)
    own = registry["ldam_drw"].model_copy(update={"key": "crt"})
    resolver = HParamResolver(MethodRegistry({**registry.methods, "crt": own}))
    (spec,) = expand_dataset(DatasetChoice(name="toys", imbalance_ratio=50))
    resolved = resolver.resolve("crt", {}, spec)
    lines = {
        name: (where.file, where.locate(where.path), source)
        for name, (where, source) in resolved.rules.items()
    }
    assert lines == {
        "scale": (RULES_FILE, 4, "Table 1"),
        "deferred": ("configs/methods/crt.yaml", 3, "own"),
    }


def test_problems_of_extended_rules_are_located(project, extending):
    def found(method="own"):
        return problems(lambda: extending(method))

    project("methods/own.yaml", "extends: ldam\n")
    assert found() == [(f"{OWN_FILE}:1", "extends", "unknown-method")]
    assert suggested(lambda: extending("own")) == [["ldam_drw"]]
    project("methods/own.yaml", "extends: softmax\n")  # a method without rules
    assert found() == [(f"{OWN_FILE}:1", "extends", "unknown-method")]
    project("methods/own.yaml", "extends: other\n")
    project("methods/other.yaml", "extends: own\n")
    assert found() == [("configs/methods/other.yaml:1", "extends", "cycle")]
    project("methods/own.yaml", "extends: stray\n")
    project("methods/stray.yaml", f"rules:\n{OWN_RULE}")
    assert found() == [("configs/methods/stray.yaml:2", "rules[0]", "unknown-method")]
    project("methods/own.yaml", f"extends: ldam_drw\nrules:\n{OWN_RULE.replace('none', 'no')}")
    project("methods/ldam_drw.yaml", RULES.replace("deferred", "deffered"))
    wrong = (f"{RULES_FILE}:4", "rules[1].hparams.deffered", "unknown-key")
    assert found() == [wrong, (f"{OWN_FILE}:3", "rules[0].hparams.deferred", "unknown-value")]
    project("methods/other.yaml", "extends: ldam_drw\n")  # which lacks the misspelled one, too
    assert found("other") == [wrong]


class Ordered(BaseModel):
    model_config = ConfigDict(extra="forbid")

    scale: float
    low: float = 0
    high: float = 1
    taps: list[int] = []

    @model_validator(mode="after")
    def _order(self):
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


@pytest.fixture
def ordered(project, registry):
    """A grid of a method with its own class of hyper-parameters, `scale` by rules on toys."""
    methods = dict(registry.methods)
    methods["ldam_drw"] = methods["ldam_drw"].model_copy(update={"load_hparams": lambda: Ordered})
    variants = """\
  - ldam_drw
  - {label: A, method: ldam_drw, hparams: {low: 2}}
  - {label: B, method: ldam_drw, hparams: {low: 2, high: 3, taps: [1, 2]}}
  - {label: C, method: ldam_drw, hparams: {low: x, taps: [1, 2.5]}}
"""
    project("grids/toys.yaml", GRID[: GRID.index("  - softmax")] + variants)
    project("grids/one.yaml", GRID[: GRID.index("  - softmax")] + "  - ldam_drw\n")
    return MethodRegistry(methods)


def test_hyper_parameters_are_checked_together_with_those_of_rules(project, ordered):
    project("methods/ldam_drw.yaml", "rules:\n  - {when: {}, hparams: {scale: 3}, source: all}\n")
    assert problems(lambda: load_grid("toys", registry=ordered)) == [
        (f"{GRID_FILE}:6", "variants[1].hparams", "conflict"),
        (f"{GRID_FILE}:8", "variants[3].hparams.low", "wrong-type"),
        (f"{GRID_FILE}:8", "variants[3].hparams.taps[1]", "wrong-type"),
    ]


def test_what_only_rules_say_is_located_in_them(project, ordered):
    rules = """\
rules:
  - {when: {imbalance_ratio: 20}, hparams: {high: -1}, source: all}
  - {when: {imbalance_ratio: 50}, hparams: {scale: x, taps: [y]}, source: all}
"""
    project("methods/ldam_drw.yaml", rules)
    assert problems(lambda: load_grid("one", registry=ordered)) == [
        (f"{RULES_FILE}:3", "rules[1].hparams.scale", "wrong-type"),
        (f"{RULES_FILE}:3", "rules[1].hparams.taps[0]", "wrong-type"),
    ]
    project("methods/ldam_drw.yaml", rules.replace("{scale: x, taps: [y]}", "{scale: 1}"))
    assert problems(lambda: load_grid("one", registry=ordered)) == [
        ("configs/grids/one.yaml:5", "variants[0].hparams.scale", "missing-key")
    ]
    project(
        "methods/ldam_drw.yaml",
        rules.replace("imbalance_ratio: 50", "").replace("x, taps: [y]", "1"),
    )
    assert problems(lambda: load_grid("one", registry=ordered)) == [
        ("configs/grids/one.yaml:5", "variants[0].hparams", "conflict")
    ]


def test_values_of_rules_are_left_out_where_they_have_no_effect(project, registry):
    scale = registry.methods["ldam_drw"].hparams["properties"]["scale"]
    scale["only_with"] = {"deferred": "drw"}
    project("methods/ldam_drw.yaml", "rules:\n  - {when: {}, hparams: {scale: 3}, source: all}\n")
    resolver = HParamResolver(registry)
    toys = load_dataset("toys")

    def resolved(given):
        found = resolver.resolve("ldam_drw", given, toys)
        return found.values["scale"], set(found.rules)

    assert resolved({}) == (3, {"scale"})
    assert resolved({"deferred": "none"}) == (30, set())
    found = problems(lambda: resolved({"deferred": "none", "scale": 3}))
    assert found == [("hparams", "", "no-effect")]


def test_overridden_hyper_parameters_are_checked_with_all_others(project, ordered):
    project("methods/ldam_drw.yaml", "rules:\n  - {when: {}, hparams: {scale: 3}, source: all}\n")

    def grid(*texts):
        return load_grid("one", parse_overrides([f"hparams.ldam_drw.{t}" for t in texts]), ordered)

    assert grid("low=2", "high=3").variants[0].hparams == {"low": 2, "high": 3}
    assert problems(lambda: grid("low=2")) == [("--set", "hparams.ldam_drw", "conflict")]
    assert problems(lambda: grid("taps=[1, x]")) == [
        ("--set", "hparams.ldam_drw.taps[1]", "wrong-type")
    ]


def test_schemas_describe_the_files():
    schemas = schema()
    assert set(schemas) == {"dataset", "recipe", "grid", "variants", "method"}
    assert "name" not in schemas["grid"]["properties"]
    extends, required = schemas["grid"]["anyOf"]
    assert extends == {"required": ["extends"]}
    assert schemas["method"]["anyOf"] == [extends, {"required": ["rules"]}]
    assert set(required["required"]) == {"title", "datasets", "recipes", "variants"}
    one_set, listed = schemas["grid"]["properties"]["variants"]["anyOf"]
    bare, *_ = listed["items"]["anyOf"]
    assert one_set == bare == {"type": "string"}
    assert "name" in Grid.model_json_schema()["properties"]


WORDS = st.sampled_from(
    ["softmax", "toys", "short", "a b", "", "x", "crt", "longtailed", "\x1b", "é"]
)
LEAVES = (
    st.none()
    | st.booleans()
    | st.integers(-2, 200)
    | st.integers()
    | WORDS
    | st.floats(allow_nan=False)
)
FIELDS = st.sampled_from(
    [
        *Grid.model_fields,
        "label",
        "method",
        "hparams",
        "imbalance_ratio",
        "imbalance_type",
        "init_from",
        "x",
    ]
)
VALUES = st.recursive(
    LEAVES,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(FIELDS, inner, max_size=5),
    max_leaves=10,
)


@settings(
    max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.dictionaries(FIELDS, VALUES))
def test_any_grid_loads_or_has_config_errors(project, registry, values):
    project("grids/fuzz.yaml", yaml.safe_dump(values, allow_unicode=True))
    try:
        load_grid("fuzz", registry=registry)
    except ConfigError as error:
        text = str(error)
    else:
        return
    assert all(line.startswith("configs/") for line in text.splitlines())


def test_an_open_set_has_images_of_the_same_shape(project):
    project("datasets/others.yaml", DATASET.replace("Toy-LT", "Others"))
    project("datasets/large.yaml", DATASET.replace("image_size: 8", "image_size: 9"))
    for path, name, code in (
        ("datasets/a.yaml", "others", None),
        ("datasets/b.yaml", "large", "conflict"),
        ("datasets/c.yaml", "other", "unknown-dataset"),
        ("datasets/d.yaml", "d", "conflict"),
    ):
        file = project(path, f"{DATASET}open_set: {name}\n")
        for load in (load_dataset, lambda name: expand_dataset(DatasetChoice(name=name))[0]):
            if code is None:
                assert load(file.stem).open_set == name
            else:
                found = problems(lambda load=load, file=file: load(file.stem))
                assert found == [(f"configs/{path}:10", "open_set", code)]
    typed = parse_overrides(["dataset.open_set=large"])
    for load in (
        lambda: load_dataset("toys", typed),
        lambda: expand_dataset(DatasetChoice(name="toys"), typed),
    ):
        assert problems(load) == [("--set", "dataset.open_set", "conflict")]


def test_an_open_set_moves_no_key(project):
    project("datasets/others.yaml", DATASET)
    project("datasets/open.yaml", f"{DATASET}open_set: others\n")
    identities = [load_dataset(name).identity() for name in ("open", "toys")]
    assert identities[0] | {"name": "toys"} == identities[1]
