"""Metrics of plugins: they join the tables, and broken ones have a clear error."""

import csv
from pathlib import Path

import pytest
from typer.testing import CliRunner

import ltbench
from ltbench.analysis.metrics import METRICS
from ltbench.cli import app
from ltbench.config.errors import ConfigError
from ltbench.launch.plan import read_registry

RECORDS = Path(__file__).parents[2] / "results" / "records"
HEAD = """
from fractions import Fraction
from ltbench.analysis.metrics import Metric

def best(run):
    return max(Fraction(h, n) for h, n in zip(run.test.hits, run.test.totals) if n)

"""
BEST = HEAD + 'METRICS = [Metric("best_class", "Best class", "", best)]'


@pytest.fixture
def plugin(tmp_path):
    def write(text):
        (tmp_path / "p.py").write_text(text)
        return tmp_path / "p.py"

    return write


def test_a_metric_of_a_plugin_is_in_tables_and_runs(plugin, tmp_path):
    words = ["leaderboard", "--grid", "quickstart", "--records", str(RECORDS)]
    words += ["--published-only", "--to", str(tmp_path / "out"), "--plugin", str(plugin(BEST))]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, done.output
    with (tmp_path / "out" / "runs.csv").open(newline="") as file:
        rows = {row["key"]: row for row in csv.DictReader(file)}
    tables = (tmp_path / "out" / "grids" / "quickstart.md").read_text()
    assert "Best class" in tables
    runs = ltbench.load_runs(RECORDS, tmp_path, plugins=[tmp_path / "p.py"])
    assert len(rows) == len(runs) > 0
    for row in runs.where(stage="train"):
        assert row["best_class"] >= row["acc"] >= row["worst_class"]
        assert rows[row["key"]]["best_class"] == f"{row['best_class']:.4f}"


@pytest.mark.parametrize(
    ("text", "places"),
    [
        ("METRICS = 3", ["METRICS"]),
        ("METRICS = [best, 1]", ["METRICS[0]", "METRICS[1]"]),
        ('METRICS = [Metric("acc", "Acc", "", best)]', ["METRICS[0]"]),
        ('METRICS = [Metric("seed", "Seed", "", best)]', ["METRICS[0]"]),
        ('METRICS = [Metric("a", "A", "", None)]', ["METRICS[0]"]),
        ('METRICS = [Metric("a", "A", "", best), Metric("a", "B", "", best)]', ["METRICS[1]"]),
        ('METRICS = [Metric("a b", "A", "", best)]', [""]),
        ('METRICS = [Metric("a", "A", "", best, table="mine")]', [""]),
        ('METRICS = [Metric("a", "A", "", best, best="high")]', [""]),
    ],
)
def test_invalid_metrics_are_refused_with_all_problems(plugin, text, places):
    before = list(METRICS)
    with pytest.raises(ConfigError) as raised:
        read_registry([plugin(HEAD + text)])
    assert [problem.path for problem in raised.value.problems] == places
    assert list(METRICS) == before


@pytest.mark.parametrize("body", ["1 / 0", "0.5", "1"])
def test_a_metric_that_is_not_a_fraction_is_refused(plugin, tmp_path, body):
    path = plugin(HEAD + f'METRICS = [Metric("a", "A", "", lambda run: {body})]')
    with pytest.raises(ConfigError) as raised:
        ltbench.load_runs(RECORDS, tmp_path, plugins=[path])
    assert raised.value.problems[0].file == "metric a"


def test_an_error_of_a_metric_is_told_with_its_line(plugin, tmp_path):
    path = plugin(HEAD + 'def bad(run):\n    return 1 / 0\n\nMETRICS = [Metric("a", "A", "", bad)]')
    with pytest.raises(ConfigError) as raised:
        ltbench.load_runs(RECORDS, tmp_path, plugins=[path])
    (problem,) = raised.value.problems
    line = path.read_text().splitlines().index("    return 1 / 0") + 1
    assert f"p.py:{line}" in problem.message


def test_a_plugin_may_be_used_twice(plugin):
    path = plugin(BEST)
    read_registry([path])
    read_registry([path, path])
    assert list(METRICS)[-1] == "best_class"
