import json
import sys
from textwrap import dedent

from ltbench.config import catalogue as module
from ltbench.config.catalogue import MethodInfo, load_catalogue
from ltbench.config.errors import Location
from ltbench.core.nouns import Paper, Stage
from tests.support import processes
from tests.support.errors import problems, suggested
from tests.support.toy_project import METHODS, method

HYPER = {
    "tau": {"default": 1.0, "minimum": 0, "maximum": 1, "type": "number"},
    "scale": {"default": 30.0, "exclusiveMinimum": 0, "type": "number"},
    "experts": {"default": 3, "minimum": 1, "type": "integer"},
    "cosine": {"default": False, "type": "boolean"},
    "defer": {"default": "drw", "enum": ["none", "drw", "drs"], "type": "string"},
    "form": {"const": "plain", "default": "plain", "type": "string"},
    "power": {
        "anyOf": [{"exclusiveMaximum": 2, "type": "number"}, {"type": "null"}],
        "default": None,
    },
    "alpha": {
        "anyOf": [{"type": "number"}, {"const": "auto", "type": "string"}],
        "default": "auto",
    },
}
DEFAULTS = {name: schema["default"] for name, schema in HYPER.items()}
INFO = MethodInfo(key="toy", **method("Toy", **HYPER))


def test_catalogue_is_a_mapping_of_typed_entries(catalogue):
    assert list(catalogue) == list(METHODS)
    assert len(catalogue) == len(METHODS)
    info = catalogue["crt"]
    assert (info.key, info.title, info.start_from) == ("crt", "cRT", "softmax")
    assert info.paper == Paper("T", "A", "V", 2020, "2007.07314")
    assert info.stages == (Stage("train"),)
    assert catalogue.get("softmax") is catalogue["softmax"]


def test_unknown_method_names_the_nearest(catalogue):
    source = Location("g.yaml", lambda _: 12, ("variants", 2, "method"))
    assert problems(lambda: catalogue.get("balanced_sofmax", source)) == [
        ("g.yaml:12", "variants[2].method", "unknown-method")
    ]
    assert suggested(lambda: catalogue.get("balanced_sofmax", source)) == [["balanced_softmax"]]


def test_defaults_are_filled_in_and_whole_numbers_become_numbers():
    assert INFO.check_hyper({}) == DEFAULTS
    checked = INFO.check_hyper({"tau": 1, "power": 1, "defer": "none", "alpha": 0.5})
    assert checked == DEFAULTS | {"tau": 1.0, "power": 1.0, "defer": "none", "alpha": 0.5}
    assert isinstance(checked["tau"], float)


def test_every_unfit_hyper_parameter_is_named():
    values = {
        "tau": 1.5,
        "scale": 0,
        "experts": 2.5,
        "cosine": "yes",
        "defer": "dwr",
        "form": "sigmoid",
        "power": 2,
        "alpha": "atuo",
        "tao": 1,
    }
    assert problems(lambda: INFO.check_hyper(values)) == [
        ("hyper", "tau", "out-of-range"),
        ("hyper", "scale", "out-of-range"),
        ("hyper", "experts", "wrong-type"),
        ("hyper", "cosine", "wrong-type"),
        ("hyper", "defer", "unknown-value"),
        ("hyper", "form", "unknown-value"),
        ("hyper", "power", "out-of-range"),
        ("hyper", "alpha", "wrong-type"),
        ("hyper", "tao", "unknown-key"),
    ]


def test_a_hyper_parameter_without_default_has_to_be_given():
    info = MethodInfo(key="toy", **method("Toy", tau={"type": "number"}))
    assert problems(lambda: info.check_hyper({})) == [("hyper", "tau", "missing-key")]
    assert problems(lambda: info.check_hyper({"tau": 10**400})) == [
        ("hyper", "tau", "out-of-range")
    ]


def test_missing_or_broken_catalogue(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "CATALOGUE", tmp_path / "c.json")
    assert problems(load_catalogue) == [("c.json", "", "unreadable")]
    (tmp_path / "c.json").write_text("{")
    assert problems(load_catalogue) == [("c.json", "", "unreadable")]
    (tmp_path / "c.json").write_text(json.dumps({"a": method(3) | {"key": "a"}, "b": method("B")}))
    assert problems(load_catalogue) == [
        ("c.json", "a.key", "unknown-key"),
        ("c.json", "a.title", "wrong-type"),
    ]


def test_planning_imports_no_torch():
    code = dedent("""
        import sys
        import ltbench.config.load
        from ltbench.config.catalogue import load_catalogue
        load_catalogue()
        assert not {"torch", "lightning", "pytorch_lightning", "numpy"} & set(sys.modules)
    """)
    processes.run([sys.executable, "-c", code], check=True)


def test_every_method_of_the_package_has_a_usable_schema():
    catalogue = load_catalogue()
    entries = json.loads(module.CATALOGUE.read_text())
    assert list(catalogue) == list(entries)
    for info in catalogue.methods.values():
        checked = info.check_hyper({})
        assert info.check_hyper(checked) == checked
        assert info.start_from is None or info.start_from in catalogue
        assert info.balanced_equals is None or info.balanced_equals in catalogue
