"""The time to answer: which rows it counts, what their jobs cost, and a trial of the whole."""

import importlib
import json
import sys

import pytest

from tests.support import processes
from tests.support.project import Project
from tests.support.quickstart import record

TRIAL = """\
import sys
from pathlib import Path

sys.path.insert(0, sys.argv.pop(1))
import answer
import rounds

rounds.RESULTS = Path("measured")
answer.main()
"""


@pytest.fixture
def answer():
    return importlib.import_module("answer")


def recorded(job, cpu_seconds):
    made = record(job)
    cost = made.cost.model_copy(update={"cpu_seconds": cpu_seconds})
    return made.model_copy(update={"cost": cost})


def test_the_rows_are_those_of_the_agreement(answer):
    plan = answer.planned(answer.GRID)
    rows = answer.of_agreement(plan)
    assert {row.seed for row in plan.rows} == {0}
    assert len(rows.rows) == 15
    assert len(plan.rows) > 15
    labels = {row.variant.label for row in rows.rows}
    assert {"Class-balanced focal", "LDAM", "LDAM-DRW", "Decouple-IB-CRT"} <= labels
    assert labels.isdisjoint({"SSP", "Decouple-CB-CRT", "tau-norm (learned)"})


def test_a_shared_job_costs_once(answer):
    rows = answer.of_agreement(answer.planned("quickstart"))
    records = [recorded(job, 60.0) for job in rows.jobs.values()]
    assert len(rows.rows) == len(records) == 7  # of which two begin with softmax
    assert answer.core_minutes(records) == 7


@pytest.mark.slow
def test_a_trial_trains_both_and_reads_the_records_of_the_rows(tmp_path, benchmarks):
    project = Project(tmp_path)
    words = ["--grid", "quickstart", "--one-epoch", "--rounds", "1", "--steps", "1"]

    def trial():
        command = [sys.executable, "-c", TRIAL, str(benchmarks), *words]
        processes.run(command, cwd=tmp_path, env=project.environment, check=True)
        return json.loads((tmp_path / "measured" / "answer_one_epoch.json").read_text())

    first, again = trial(), trial()
    records = project.records()
    total = sum(each.cost.cpu_seconds for each in records.values()) / 60
    for result, trained in ((first, 7), (again, 0)):
        start, both, rows, usual = result["medians"]
        assert result["medians"][rows] == pytest.approx(total)
        assert f"{trained} of them trained now" in rows
        assert 0 < result["medians"][both] < result["medians"][start]
        assert len(result["figures"][usual]) == 2
    rates = json.loads((tmp_path / "measured" / "answer_one_epoch_rates.json").read_text())
    loop = rates["figures"]["usual loop, ResNet-32, fp32"]
    assert again["figures"][usual] == pytest.approx([200 * 12406 / rate / 60 for rate in loop])
