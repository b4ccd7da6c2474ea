import json
import sys
from textwrap import dedent

import pytest

from ltbench.config import registry as module
from ltbench.config.base import LATER
from ltbench.config.errors import ConfigError, Location
from ltbench.config.registry import MethodInfo, load_registry
from ltbench.core.types import Paper, Stage
from tests.support import processes
from tests.support.errors import problems, suggested
from tests.support.toy_project import METHODS, method

HPARAMS = {
    "tau": {"default": 1.0, "minimum": 0, "maximum": 1, "type": "number"},
    "scale": {"default": 30.0, "exclusiveMinimum": 0, "type": "number"},
    "experts": {"default": 3, "minimum": 1, "type": "integer"},
    "cosine": {"default": False, "type": "boolean"},
    "deferred": {"default": "drw", "enum": ["none", "drw", "drs"], "type": "string"},
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
DEFAULTS = {name: schema["default"] for name, schema in HPARAMS.items()}
INFO = MethodInfo(key="toy", **method("Toy", **HPARAMS))


def test_later_hyper_parameters_count_once_they_differ_from_their_default():
    later = HPARAMS | {"cosine": HPARAMS["cosine"] | LATER, "power": HPARAMS["power"] | LATER}
    info = MethodInfo(key="toy", **method("Toy", **later))
    kept = {name: value for name, value in DEFAULTS.items() if name not in ("cosine", "power")}
    assert info.keyed(DEFAULTS) == kept
    assert info.keyed(DEFAULTS | {"power": 1.5}) == kept | {"power": 1.5}
    assert INFO.keyed(DEFAULTS) == DEFAULTS
    assert info.validate_hparams(kept) == DEFAULTS


def test_registry_is_a_mapping_of_typed_entries(registry):
    assert list(registry) == list(METHODS)
    assert len(registry) == len(METHODS)
    info = registry["crt"]
    assert (info.key, info.title, info.init_from) == ("crt", "cRT", "softmax")
    assert info.paper == Paper("T", "A", "V", 2020, "2007.07314")
    assert info.stages == (Stage("train"),)
    assert registry.get("softmax") is registry["softmax"]


def test_unknown_method_names_the_nearest(registry):
    source = Location("g.yaml", lambda _: 12, ("variants", 2, "method"))
    assert problems(lambda: registry.get("balanced_sofmax", source)) == [
        ("g.yaml:12", "variants[2].method", "unknown-method")
    ]
    assert suggested(lambda: registry.get("balanced_sofmax", source)) == [["balanced_softmax"]]


def test_an_unknown_method_may_be_one_of_a_plugin():
    with pytest.raises(ConfigError) as raised:
        load_registry().get("xyz_of_my_thesis")
    assert "--plugin" in raised.value.problems[0].suggestion


def test_defaults_are_filled_in_and_whole_numbers_become_numbers():
    assert INFO.validate_hparams({}) == DEFAULTS
    checked = INFO.validate_hparams({"tau": 1, "power": 1, "deferred": "none", "alpha": 0.5})
    assert checked == DEFAULTS | {"tau": 1.0, "power": 1.0, "deferred": "none", "alpha": 0.5}
    assert isinstance(checked["tau"], float)


def test_every_unfit_hyper_parameter_is_named():
    values = {
        "tau": 1.5,
        "scale": 0,
        "experts": 2.5,
        "cosine": "yes",
        "deferred": "dwr",
        "form": "sigmoid",
        "power": 2,
        "alpha": "atuo",
        "tao": 1,
    }
    assert problems(lambda: INFO.validate_hparams(values)) == [
        ("hparams", "tau", "out-of-range"),
        ("hparams", "scale", "out-of-range"),
        ("hparams", "experts", "wrong-type"),
        ("hparams", "cosine", "wrong-type"),
        ("hparams", "deferred", "unknown-value"),
        ("hparams", "form", "unknown-value"),
        ("hparams", "power", "out-of-range"),
        ("hparams", "alpha", "wrong-type"),
        ("hparams", "tao", "unknown-key"),
    ]


def test_a_hyper_parameter_without_default_has_to_be_given():
    info = MethodInfo(key="toy", **method("Toy", tau={"type": "number"}))
    assert problems(lambda: info.validate_hparams({})) == [("hparams", "tau", "missing-key")]
    assert problems(lambda: info.validate_hparams({"tau": 10**400})) == [
        ("hparams", "tau", "out-of-range")
    ]


def test_missing_or_broken_registry(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(module, "REGISTRY_FILE", tmp_path / "c.json")
    assert problems(load_registry) == [("c.json", "", "unreadable")]
    (tmp_path / "c.json").write_text("{")
    assert problems(load_registry) == [("c.json", "", "unreadable")]
    (tmp_path / "c.json").write_text(json.dumps({"a": method(3) | {"key": "a"}, "b": method("B")}))
    assert problems(load_registry) == [
        ("c.json", "a.key", "unknown-key"),
        ("c.json", "a.title", "wrong-type"),
    ]


def test_planning_imports_no_torch():
    code = dedent("""
        import sys
        import ltbench.config.load
        from ltbench.config.registry import load_registry
        load_registry()
        assert not {"torch", "lightning", "pytorch_lightning", "numpy"} & set(sys.modules)
    """)
    processes.run([sys.executable, "-c", code], check=True)


def test_every_method_of_the_package_has_a_usable_schema():
    registry = load_registry()
    entries = json.loads(module.REGISTRY_FILE.read_text())
    assert list(registry) == list(entries)
    for info in registry.methods.values():
        checked = info.validate_hparams({})
        assert info.validate_hparams(checked) == checked
        assert info.init_from is None or info.init_from in registry
        assert info.reduces_to is None or info.reduces_to in registry
