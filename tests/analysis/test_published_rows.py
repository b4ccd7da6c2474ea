from pathlib import Path

import pytest

from ltbench.analysis.metrics import METRICS
from ltbench.analysis.published import comparable
from ltbench.analysis.published_rows import published_row, published_rows
from ltbench.analysis.reproduction import row_name
from ltbench.analysis.result_set import boards
from ltbench.config.files import available
from ltbench.launch.plan import Request, make_plan
from ltbench.runs.store import RecordStore
from tests.support.errors import problems, suggested

RECORDS = Path(__file__).parents[2] / "results" / "records"


@pytest.fixture(scope="module")
def plans():
    return [make_plan(Request(name))[0] for name in available("grids")]


@pytest.fixture(scope="module")
def rows(plans):
    return published_rows(plans, RecordStore(RECORDS).load().records)


def test_every_figure_that_may_stand_beside_ours_is_of_a_row(plans, rows):
    figures = {
        (row_name(board, entry), figure.source, figure.value)
        for plan in plans
        for board in boards(plan, {})
        for entry in board.entries
        for metric in METRICS
        for by in ("survey", "papers")
        for figure in comparable(board).of(entry, metric, by)
    }
    assert len(figures) > 300
    claimed = {(name, c.source, c.value) for name, row in rows.items() for c in row.claims}
    assert figures <= claimed


def test_every_published_record_of_a_table_is_of_a_row(plans, rows):
    published = RecordStore(RECORDS).load().records
    shown = {
        key
        for plan in plans
        for board in boards(plan, published)
        for entry in board.entries
        for key in entry.values["acc"].keys
    }
    assert shown
    assert shown <= {key for row in rows.values() for key in row.plan().jobs}


def test_rows_of_one_name_are_the_same_jobs(plans, rows):
    for plan in plans:
        for board in boards(plan, {}):
            for entry in board.entries:
                row = rows.get(row_name(board, entry))
                if row is not None:
                    ours, theirs = set(entry.keys), {r.key for r in row.plan().rows}
                    assert ours <= theirs or theirs <= ours


def test_a_row_trains_what_it_needs_and_no_more(rows):
    row = published_row("imagenet_lt/ride/200", rows)
    assert [job.method for job in row.plan().jobs.values()] == ["ride"]
    balanced_counterpart = row.plan(balanced_counterpart=True)
    assert sorted((j.method, j.split) for j in balanced_counterpart.jobs.values()) == [
        ("ride", "balanced"),
        ("ride", "longtailed"),
        ("softmax", "balanced"),
    ]
    small = published_row("cifar10_jpeg_r100/softmax/12", rows)
    assert [r.seed for r in small.plan([1]).rows] == [1]


def test_unknown_rows_seeds_and_twins_are_refused(rows):
    def unknown():
        return published_row("imagenet_lt/rides/200", rows)

    assert problems(unknown) == [("reproduce", "", "unknown-value")]
    (near,) = suggested(unknown)
    assert "imagenet_lt/ride/200" in near
    ride, crt = rows["imagenet_lt/ride/200"], rows["imagenet_lt/softmax-crt/200"]
    assert problems(lambda: ride.plan([7])) == [
        (f"grid {ride.grid.grid.name}", "seeds", "unknown-value")
    ]
    assert problems(lambda: crt.plan(balanced_counterpart=True)) == [
        (f"grid {crt.grid.grid.name}", "splits", "unknown-value")
    ]
