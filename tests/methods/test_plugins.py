import pytest

from ltbench.config.catalogue import load_catalogue
from ltbench.config.errors import ConfigError
from ltbench.methods.plugins import import_plugin, with_plugins

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
    assert import_plugin(plugin)["mine"] is import_plugin(plugin)["mine"]


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
