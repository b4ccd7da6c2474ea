"""The survey's tables on the command line."""

import csv

from typer.testing import CliRunner

from ltbench.cli import app
from ltbench.config.errors import ConfigError
from ltbench.report.survey_tables import ROWS

GRIDS = ("--grid", "cifar10_jpeg_lt_fast", "--grid", "losses_decoupled_fast")


def call(tmp_path, *words):
    folders = ("--run-dir", tmp_path, "--records", tmp_path)
    return CliRunner().invoke(app, [*map(str, ("survey", *folders, *words))])


def test_one_command_writes_the_three_tables(tmp_path):
    file = tmp_path / "survey.csv"
    done = call(tmp_path, *GRIDS, "--to", file)
    assert done.exit_code == 0, done.output
    with file.open(newline="") as lines:
        rows = list(csv.DictReader(lines))
    tables = [f"survey table {number}" for number in (5, 6, 7)]
    assert list(dict.fromkeys(row["table"] for row in rows)) == tables
    listed = {row["row"].rpartition(", ")[2] for row in rows}
    assert {name for names in ROWS.values() for name in names} <= listed
    assert {row["mean"] for row in rows} == {""}


def test_they_are_printed(tmp_path):
    done = call(tmp_path, *GRIDS)
    assert done.exit_code == 0, done.output
    assert all(f"Table {number} of the survey" in done.output for number in (5, 6, 7))


def test_an_unknown_format_is_refused(tmp_path):
    error = call(tmp_path, *GRIDS, "--to", tmp_path / "survey.xls").exception
    assert isinstance(error, ConfigError)
    assert [(problem.file, problem.code) for problem in error.problems] == [
        ("--to", "unknown-value")
    ]
    assert not (tmp_path / "survey.xls").exists()
