import json
import sys
from pathlib import Path

import pytest

from ltbench.config.errors import ConfigError
from ltbench.config.registry import HPARAMS_FIELD, load_registry
from ltbench.config.validation import validate
from ltbench.launch.plan import read_registry
from ltbench.methods.plugins import find_method, import_plugin, with_plugins
from ltbench.methods.rebalancing.ldam_drw import LDAMDRW
from tests.support.errors import problems, problems_of

PLUGIN = """
from ltbench.methods.contract import HParams, Method
from ltbench.core.types import Paper


class MineHParams(HParams):
    power: float = 0.5


class Mine(Method):
    title = "Mine"
    paper = None
    category = "baseline"
    oracle = None
    HParams = MineHParams


METHODS = {"mine": Mine}
"""


def test_plugin_methods_join_the_registry(tmp_path):
    plugin = tmp_path / "my_methods.py"
    plugin.write_text(PLUGIN)
    registry = with_plugins(load_registry(), [plugin])
    assert list(registry)[-1] == "mine"
    assert registry["mine"].title == "Mine"
    assert registry["mine"].validate_hparams({}) == {"power": 0.5}
    assert import_plugin(plugin) is import_plugin(plugin)


@pytest.mark.parametrize(
    ("text", "code", "fact"),
    [
        (None, "missing-file", ""),
        ("METHODS = [", "plugin", "SyntaxError: '[' was never closed (p.py, line 1)"),
        ("1 / 0", "plugin", "ZeroDivisionError: division by zero"),
        ("raise SystemExit(3)", "plugin", "SystemExit: 3"),
        ("x = 1", "plugin", "METHODS"),
        ("METHODS = {}", "plugin", "METHODS"),
        ("METHODS = {'softmax': object}", "duplicate", '"softmax"'),
        ("METHODS = {'mine': object}", "plugin", '"mine"'),
        ("METHODS = {'mine': 3}", "plugin", "expected a class"),
    ],
)
def test_broken_plugins_have_a_clear_error(tmp_path, monkeypatch, text, code, fact):
    monkeypatch.chdir(tmp_path)
    if text is not None:
        (tmp_path / "p.py").write_text(text)
    (problem,) = problems_of(lambda: with_plugins(load_registry(), [tmp_path / "p.py"]))
    assert (problem.file, problem.code) == ("p.py", code)
    assert fact in problem.message


def test_all_problems_of_all_plugins_are_named_at_once(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    Path("a.py").write_text("METHODS = {'softmax': object, 'one': object, 'two': object}")
    Path("b.py").write_text("1 / 0")
    plugins = [Path("a.py"), Path("none.py"), Path("b.py")]
    expected = [
        ("none.py", "", "missing-file"),
        ("b.py:1", "", "plugin"),
        ("a.py", "", "duplicate"),
        ("a.py", "", "plugin"),
        ("a.py", "", "plugin"),
    ]
    assert problems(lambda: read_registry(plugins)) == expected


@pytest.mark.parametrize(
    ("text", "line"),
    [
        ("METHODS = {\n\n\n  'a' 3}", 4),
        ("import os\n\ndef f():\n    return 1 / 0\n\nf()", 4),
        ("import json\njson.loads('[')", 2),
        ("import beside_e", 1),
    ],
)
def test_an_error_on_import_has_its_line_in_the_plugin(tmp_path, text, line):
    (tmp_path / "beside_e.py").write_text("\n\n1 / 0")
    (tmp_path / "p.py").write_text(text)
    (problem,) = problems_of(lambda: import_plugin(tmp_path / "p.py"))
    assert (problem.line, problem.code) == (line, "plugin")
    forget([tmp_path])


def test_a_folder_is_no_plugin(tmp_path):
    (problem,) = problems_of(lambda: import_plugin(tmp_path))
    assert problem.code == "missing-file"
    assert "folder" in problem.message


HYPER_TYPES = """
from enum import Enum
from typing import Literal
from pydantic import BaseModel, Field, model_validator
from ltbench.methods.contract import HParams, Method


class Kind(Enum):
    SOFT = "soft"
    HARD = "hard"


class Inner(BaseModel, extra="forbid"):
    rate: float = Field(0.1, gt=0)
    steps: tuple[int, ...] = ()


class MineHParams(HParams):
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
    HParams = MineHParams


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
    info = with_plugins(load_registry(), [tmp_path / "mine.py"])["mine"]
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
    filled = info.validate_hparams({"power": 1} | values)
    assert filled.keys() == FILLED.keys()
    assert {name: filled[name] for name in FILLED if name not in values} == {
        name: value for name, value in FILLED.items() if name not in values
    }
    assert json.loads(json.dumps(filled)) == filled
    assert info.validate_hparams(filled) == filled
    made = validate(kind.HParams, filled, HPARAMS_FIELD)
    assert isinstance(made, kind.HParams)
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
    assert problems(lambda: mine[0].validate_hparams(values)) == [
        ("hparams", "power", "missing-key"),
        ("hparams", "taps[2]", "wrong-type"),
        ("hparams", "pair[1]", "missing-key"),
        ("hparams", "inner.rate", "out-of-range"),
        ("hparams", "inner.steps[1]", "wrong-type"),
        ("hparams", "inner.nope", "unknown-key"),
        ("hparams", "more[1].rate", "out-of-range"),
        ("hparams", "kind", "unknown-value"),
        ("hparams", "scale", "wrong-type"),
        ("hparams", "by_name.a", "wrong-type"),
        ("hparams", "widths[1]", "wrong-type"),
        ("hparams", "powr", "unknown-key"),
    ]


def test_a_combination_that_the_class_forbids_is_a_problem_of_the_whole(mine):
    values = {"power": 1, "low": 2}
    assert problems(lambda: mine[0].validate_hparams(values)) == [("hparams", "", "conflict")]


@pytest.mark.parametrize(
    "line", ["power: set[int] = {1}", "power: float = float('inf')", "power: float = 'a'"]
)
def test_hyper_parameters_without_a_json_form_are_refused(tmp_path, line):
    (tmp_path / "p.py").write_text(PLUGIN.replace("power: float = 0.5", line))
    with pytest.raises(ConfigError):
        with_plugins(load_registry(), [tmp_path / "p.py"])["mine"].validate_hparams({})


def test_unknown_samplers_are_refused_with_the_line_of_the_class(tmp_path):
    (tmp_path / "p.py").write_text(SAMPLERS_OF_NO_ONE)
    (problem,) = problems_of(lambda: with_plugins(load_registry(), [tmp_path / "p.py"]))
    assert (problem.line, problem.path) == (5, "mine.stages[0].samplers")
    assert problem.code == "unknown-value"
    assert '"square_root"' in problem.suggestion


def test_samplers_of_plugins_can_have_parameters(tmp_path):
    (tmp_path / "p.py").write_text(SAMPLERS_OF_NO_ONE.replace("square_rot", "power(exponent=0.5)"))
    (stage,) = with_plugins(load_registry(), [tmp_path / "p.py"])["mine"].stages
    assert stage.samplers == ("instance", "power(exponent=0.5)")


SAMPLERS_OF_NO_ONE = """\
from ltbench.core.types import Stage
from ltbench.methods.rebalancing.softmax import Softmax


class Mine(Softmax):
    title = "Mine"
    aliases = ()
    stages = (Stage("train", samplers=("instance", "square_rot")),)


METHODS = {"mine": Mine}
"""


def test_hyper_parameters_are_of_the_contract(tmp_path):
    text = "from pydantic import BaseModel\n" + PLUGIN.replace(
        "MineHParams(HParams)", "MineHParams(BaseModel)"
    )
    (tmp_path / "p.py").write_text(text)
    path = tmp_path / "p.py"
    assert problems(lambda: with_plugins(load_registry(), [path])) == [(str(path), "", "plugin")]


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
"""A plugin and its local imports."""


@pytest.fixture
def source_of(tmp_path):
    """Write a plugin to a new folder; return its source's hash."""
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
    """Unload the modules of folders, so that they can be imported again."""
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None) or ""
        if any(file.startswith(f"{folder}/") for folder in folders):
            del sys.modules[name]
    sys.path[:] = [entry for entry in sys.path if entry not in map(str, folders)]


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
    path = other / "plugin.py"
    (problem,) = problems_of(lambda: import_plugin(path))
    assert (problem.file, problem.code) == (str(path), "plugin")
    assert '"beside_d"' in problem.message
    sys.path.remove(str(other))


def test_the_version_of_a_method_that_is_extended_counts(tmp_path, monkeypatch):
    text = PLUGIN.replace("class Mine(Method)", "class Mine(LDAMDRW)").replace(
        "    HParams = MineHParams", ""
    )
    (tmp_path / "p.py").write_text(
        f"from ltbench.methods.rebalancing.ldam_drw import LDAMDRW\n{text}"
    )
    plugin = import_plugin(tmp_path / "p.py")
    before = plugin.hash_of("mine")
    monkeypatch.setattr(LDAMDRW, "version", LDAMDRW.version + 1)
    assert plugin.hash_of("mine") != before
