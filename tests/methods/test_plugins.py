import json
import sys

import pytest

from ltbench.config.catalogue import HYPER, load_catalogue
from ltbench.config.errors import ConfigError
from ltbench.config.validation import validate
from ltbench.methods.plugins import find_method, import_plugin, with_plugins
from ltbench.methods.rebalancing.ldam_drw import LDAMDRW

PLUGIN = """
from ltbench.methods.base import Hyper, Method
from ltbench.core.nouns import Paper


class MineHyper(Hyper):
    power: float = 0.5


class Mine(Method):
    title = "Mine"
    paper = None
    category = "baseline"
    oracle = None
    Hyper = MineHyper


METHODS = {"mine": Mine}
"""


def test_plugin_methods_join_the_catalogue(tmp_path):
    plugin = tmp_path / "my_methods.py"
    plugin.write_text(PLUGIN)
    catalogue = with_plugins(load_catalogue(), [plugin])
    assert list(catalogue)[-1] == "mine"
    assert catalogue["mine"].title == "Mine"
    assert catalogue["mine"].check_hyper({}) == {"power": 0.5}
    assert import_plugin(plugin) is import_plugin(plugin)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "p.py: no such plugin"),
        ("METHODS = [", "p.py: fails on import: SyntaxError: "),
        ("1 / 0", "p.py: fails on import: ZeroDivisionError: division by zero"),
        ("x = 1", "p.py: has no METHODS, a dict from key to class"),
        ("METHODS = {'softmax': object}", 'p.py: there is a method "softmax" already'),
        ("METHODS = {'mine': object}", 'p.py: "mine" is not a method: '),
    ],
)
def test_broken_plugins_have_a_clear_error(tmp_path, monkeypatch, text, message):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "p.py").write_text(text)
    with pytest.raises(ConfigError) as raised:
        with_plugins(load_catalogue(), [tmp_path / "p.py"])
    assert str(raised.value).startswith(message)


HYPER_TYPES = """
from enum import Enum
from typing import Literal
from pydantic import BaseModel, Field, model_validator
from ltbench.methods.base import Hyper, Method


class Kind(Enum):
    SOFT = "soft"
    HARD = "hard"


class Inner(BaseModel, extra="forbid"):
    rate: float = Field(0.1, gt=0)
    steps: tuple[int, ...] = ()


class MineHyper(Hyper):
    power: float
    taps: list[float] = [1, 2.5]
    pair: tuple[int, str] = (1, "a")
    inner: Inner = Inner()
    more: list[Inner] = Field(default_factory=list)
    kind: Kind = Kind.SOFT
    scale: float | Literal["auto"] | None = None
    by_name: dict[str, int] = {}
    widths: list[int] | int = 3
    low: float = 0
    high: float = 1

    @model_validator(mode="after")
    def _order(self):
        if self.low > self.high:
            raise ValueError("low is above high")
        return self


class Mine(Method):
    title = "Mine"
    paper = None
    category = "baseline"
    Hyper = MineHyper


METHODS = {"mine": Mine}
"""
FILLED = {
    "power": 1.0,
    "taps": [1.0, 2.5],
    "pair": [1, "a"],
    "inner": {"rate": 0.1, "steps": []},
    "more": [],
    "kind": "soft",
    "scale": None,
    "by_name": {},
    "widths": 3,
    "low": 0.0,
    "high": 1.0,
}


@pytest.fixture
def mine(tmp_path):
    """A method whose hyper-parameters have all types, and its class."""
    (tmp_path / "mine.py").write_text(HYPER_TYPES)
    info = with_plugins(load_catalogue(), [tmp_path / "mine.py"])["mine"]
    return info, find_method("mine", [tmp_path / "mine.py"])[0]


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"taps": [], "pair": [2, "b"], "inner": {"rate": 1, "steps": [1, 2]}},
        {"more": [{}, {"rate": 2.0}], "kind": "hard", "scale": "auto", "by_name": {"a": 1}},
        {"widths": [1, 2], "scale": 3, "low": 1},
    ],
)
def test_hyper_parameters_of_all_types_are_filled_in_and_make_the_class(mine, values):
    info, kind = mine
    filled = info.check_hyper({"power": 1} | values)
    assert filled.keys() == FILLED.keys()
    assert {name: filled[name] for name in FILLED if name not in values} == {
        name: value for name, value in FILLED.items() if name not in values
    }
    assert json.loads(json.dumps(filled)) == filled
    assert info.check_hyper(filled) == filled
    made = validate(kind.Hyper, filled, HYPER)
    assert isinstance(made, kind.Hyper)
    assert made.model_dump(mode="json") == filled


def test_everything_unfit_is_named_where_it_stands(mine):
    values = {
        "taps": [1, -2, "y"],
        "pair": [1],
        "inner": {"rate": 0, "steps": [1, 2.5], "nope": 1},
        "more": [{}, {"rate": -1}],
        "kind": "medium",
        "scale": "atuo",
        "by_name": {"a": "x"},
        "widths": [1, "x"],
        "powr": 1,
    }
    with pytest.raises(ConfigError) as raised:
        mine[0].check_hyper(values)
    assert [(p.path.removeprefix("hyper."), p.code) for p in raised.value.problems] == [
        ("power", "missing"),
        ("taps[2]", "float_type"),
        ("pair[1]", "missing"),
        ("inner.rate", "greater_than"),
        ("inner.steps[1]", "int_type"),
        ("inner.nope", "extra_forbidden"),
        ("more[1].rate", "greater_than"),
        ("kind", "enum"),
        ("scale", "float_type"),
        ("by_name.a", "int_type"),
        ("widths[1]", "int_type"),
        ("powr", "extra_forbidden"),
    ]


def test_a_combination_that_the_class_forbids_is_a_problem_of_the_whole(mine):
    with pytest.raises(ConfigError) as raised:
        mine[0].check_hyper({"power": 1, "low": 2})
    assert [(p.path, p.code) for p in raised.value.problems] == [("", "value_error")]


@pytest.mark.parametrize(
    "line", ["power: set[int] = {1}", "power: float = float('inf')", "power: float = 'a'"]
)
def test_hyper_parameters_that_cannot_be_written_down_are_refused(tmp_path, line):
    (tmp_path / "p.py").write_text(PLUGIN.replace("power: float = 0.5", line))
    with pytest.raises(ConfigError):
        with_plugins(load_catalogue(), [tmp_path / "p.py"])["mine"].check_hyper({})


def test_hyper_parameters_are_of_the_contract(tmp_path):
    text = "from pydantic import BaseModel\n" + PLUGIN.replace(
        "MineHyper(Hyper)", "MineHyper(BaseModel)"
    )
    (tmp_path / "p.py").write_text(text)
    with pytest.raises(ConfigError, match="not a method"):
        with_plugins(load_catalogue(), [tmp_path / "p.py"])


FILES = {
    "plugin.py": "import beside_a\nfrom packed_a import deep\n" + PLUGIN,
    "beside_a.py": "def late():\n    from packed_a.inner import leaf\n",
    "packed_a/__init__.py": "from .sibling import thing\n",
    "packed_a/sibling.py": "from . import deep\nthing = 1\n",
    "packed_a/deep.py": "",
    "packed_a/inner/__init__.py": "",
    "packed_a/inner/leaf.py": "from ..further import more\n",
    "packed_a/further.py": "more = 1\n",
}
"""A plugin, and all that it imports from its own folder."""


@pytest.fixture
def source_of(tmp_path):
    """Write a plugin's files into a new folder; return the hash of its source."""
    folders = []

    def source_of(files, name="plugin.py"):
        forget(folders)
        folder = tmp_path / str(len(folders))
        folders.append(folder)
        for path, text in files.items():
            (folder / path).parent.mkdir(parents=True, exist_ok=True)
            (folder / path).write_text(text)
        return import_plugin(folder / name).hash_of("mine")

    yield source_of
    forget(folders)


def forget(folders):
    """Let modules below folders be imported anew, from elsewhere."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if any(file.startswith(f"{folder}/") for folder in folders):
            del sys.modules[name]
    sys.path[:] = [place for place in sys.path if place not in map(str, folders)]


def test_the_source_is_that_of_all_files_wherever_they_lie(source_of):
    whole = source_of(FILES)
    assert source_of(FILES | {"unused.py": "1 / 0", "packed_a/unused.py": "x = 1"}) == whole
    renamed = {("mine.py" if path == "plugin.py" else path): text for path, text in FILES.items()}
    assert source_of(renamed, "mine.py") == whole
    edited = {path: source_of(FILES | {path: text + "\nx = 2\n"}) for path, text in FILES.items()}
    assert len({whole, *edited.values()}) == 1 + len(FILES)


def test_a_package_is_a_plugin_too(source_of):
    package = {"__init__.py": "from .part_b import x\n" + PLUGIN, "part_b.py": "x = 1\n"}
    whole = source_of(package, "__init__.py")
    assert source_of(package | {"part_b.py": "x = 2\n"}, "__init__.py") != whole


def test_an_edit_of_the_same_size_within_the_second_is_seen(source_of, tmp_path):
    files = {"plugin.py": f"from beside_c import x\n{PLUGIN}", "beside_c.py": "x = 1\n"}
    first = source_of(files)
    assert not list(tmp_path.rglob("*.pyc"))
    assert source_of(files | {"beside_c.py": "x = 2\n"}) != first


def test_two_plugins_do_not_take_each_others_modules(tmp_path, source_of):
    files = {"plugin.py": f"import beside_d\n{PLUGIN}", "beside_d.py": ""}
    source_of(files)
    other = tmp_path / "other"
    other.mkdir()
    for name, text in files.items():
        (other / name).write_text(text)
    with pytest.raises(ConfigError, match="beside_d"):
        import_plugin(other / "plugin.py")
    sys.path.remove(str(other))


def test_the_version_of_a_method_that_is_extended_counts(tmp_path, monkeypatch):
    text = PLUGIN.replace("class Mine(Method)", "class Mine(LDAMDRW)").replace(
        "    Hyper = MineHyper", ""
    )
    (tmp_path / "p.py").write_text(
        f"from ltbench.methods.rebalancing.ldam_drw import LDAMDRW\n{text}"
    )
    plugin = import_plugin(tmp_path / "p.py")
    before = plugin.hash_of("mine")
    monkeypatch.setattr(LDAMDRW, "version", LDAMDRW.version + 1)
    assert plugin.hash_of("mine") != before
