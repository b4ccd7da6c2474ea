from fractions import Fraction
from pathlib import Path

import pytest

from ltbench.analysis.metrics import METRICS
from ltbench.analysis.published import OURS, PublishedNumber, comparable
from ltbench.analysis.reproduction import (
    published_row,
    published_rows,
    reproductions,
    row_name,
    row_numbers,
)
from ltbench.analysis.result_set import Estimate, boards
from ltbench.config.files import available
from ltbench.launch.plan import Request, make_plan
from ltbench.runs.store import RecordStore
from tests.support.errors import problems, suggested

RECORDS = Path(__file__).parents[2] / "results" / "records"
VARIANTS = [
    {"label": "Softmax", "method": "softmax"},
    {"label": "tau-norm (x) + A", "method": "tau_norm", "init_from": "Softmax"},
]


def board(toy, hits, **how):
    plan = toy.plan(VARIANTS, splits=("longtailed",), **how)
    jobs = [plan.jobs[row.key] for row in plan.rows if row.variant.label == "Softmax"]
    records = toy.stored(*(toy.record(job, h) for job, h in zip(jobs, hits, strict=True)))
    (made,) = boards(plan, records)
    return made


def test_a_row_is_named_by_dataset_label_and_budget(toy):
    made = board(toy, [(1,) * 6] * 2)
    names = [row_name(made, entry) for entry in made.entries]
    assert names == ["toy_r40/softmax/3", "toy_r40/tau-norm-x-a/3"]


def test_published_records_are_published_numbers_with_their_seeds(toy):
    made = board(toy, [(2,) * 6, (4,) * 6])
    literature = comparable(made)
    found = {number.metric: number for number in row_numbers(made.entries[0], literature)}
    acc = made.entries[0].values["acc"]
    assert found["acc"] == PublishedNumber("acc", acc.mean, OURS, acc.std, 2)
    assert "ua" not in found
    assert row_numbers(made.entries[1], literature) == []


@pytest.mark.parametrize(
    ("published", "std", "ours", "tolerance", "outcome"),
    [
        (Fraction(50), None, Estimate(Fraction("50.9"), None, n=1), 1.0, "within"),
        (Fraction(50), None, Estimate(Fraction("48.9"), None, n=1), 1.0, "outside"),
        (Fraction(50), Fraction(3), Estimate(Fraction(441, 10), Fraction(1), n=2), 6.0, "within"),
        (Fraction(50), Fraction(3), Estimate(Fraction(439, 10), Fraction(1), n=2), 6.0, "outside"),
        (Fraction(50), Fraction("0.1"), Estimate(Fraction("49.5"), None, n=1), 1.0, "within"),
        (Fraction(50), Fraction(3), Estimate(), 1.0, "not run"),
    ],
)
def test_tolerance_is_points_or_twice_the_standard_error(
    toy, published, std, ours, tolerance, outcome
):
    entry = board(toy, [(1,) * 6] * 2).entries[0]
    entry.values["acc"] = ours
    n = 1 if std is None else 2
    (reproduction,) = reproductions(
        [PublishedNumber("acc", published, "a paper", std, n)], entry, 1.0
    )
    assert reproduction.tolerance == pytest.approx(tolerance)
    assert reproduction.outcome == outcome


@pytest.fixture(scope="module")
def plans():
    return [make_plan(Request(name))[0] for name in available("grids")]


@pytest.fixture(scope="module")
def rows(plans):
    return published_rows(plans, RecordStore(RECORDS).load().records)


def test_every_comparable_number_belongs_to_a_row(plans, rows):
    numbers = {
        (row_name(board, entry), number.source, number.value)
        for plan in plans
        for board in boards(plan, {})
        for known in (comparable(board),)
        for entry in board.entries
        for metric in METRICS
        for by in ("survey", "papers")
        for number in known.of(entry, metric, by)
    }
    assert len(numbers) > 300
    covered = {(name, n.source, n.value) for name, row in rows.items() for n in row.numbers}
    assert numbers <= covered


def test_every_published_record_of_a_table_belongs_to_a_row(plans, rows):
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
    balanced = row.plan(balanced=True)
    assert sorted((j.method, j.split) for j in balanced.jobs.values()) == [
        ("ride", "balanced"),
        ("ride", "longtailed"),
        ("softmax", "balanced"),
    ]
    several = published_row("cifar10_r100/softmax/200", rows)
    assert [r.seed for r in several.plan([1]).rows] == [1]


def test_unknown_rows_seeds_and_splits_are_refused(rows):
    def unknown():
        return published_row("imagenet_lt/rides/200", rows)

    assert problems(unknown) == [("reproduce", "", "unknown-value")]
    (near,) = suggested(unknown)
    assert "imagenet_lt/ride/200" in near
    ride, crt = rows["imagenet_lt/ride/200"], rows["imagenet_lt/softmax-crt/200"]
    assert problems(lambda: ride.plan([7])) == [
        (f"grid {ride.grid.grid.name}", "seeds", "unknown-value")
    ]
    assert problems(lambda: crt.plan(balanced=True)) == [
        (f"grid {crt.grid.grid.name}", "splits", "unknown-value")
    ]
