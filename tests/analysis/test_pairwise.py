import pytest

from ltbench.analysis.class_changes import change
from ltbench.analysis.pairwise import head_to_heads
from ltbench.report.paired_tables import HEAD_TO_HEAD, Match
from ltbench.report.table import build
from tests.support.tables import said

SOFTMAX = {"label": "Softmax", "method": "softmax"}
BALANCED = {"label": "BS", "method": "balanced_softmax"}
HITS = {"Softmax": (45, 40, 30, 20, 5, 0), "BS": (44, 39, 33, 30, 25, 20)}
LABELS = ("BS", "Softmax")


def matches(toy, plans, labels=LABELS, split="longtailed", skip=()):
    records = toy.stored(
        *(
            toy.record(job, HITS[job.label])
            for plan in plans
            for job in plan.jobs.values()
            if (job.label, job.seed) not in skip
        )
    )
    rows = [(plan, row) for plan in plans for row in plan.rows if row.split == split]
    return head_to_heads(rows, records, labels)


def test_variants_are_compared_in_every_setting_that_plans_both(toy):
    one, two = (
        toy.plan([SOFTMAX, BALANCED], dataset=toy.dataset(name=name)) for name in ("a", "b")
    )
    alone = toy.plan([SOFTMAX], dataset=toy.dataset(name="c"))
    found = matches(toy, [one, two, alone])
    assert [match.setting for match in found] == [
        "a_r40, short, longtailed",
        "b_r40, short, longtailed",
    ]
    assert [match.planned for match in found] == [2, 2]


def test_jobs_that_two_grids_share_are_compared_once(toy):
    plans = [toy.plan([SOFTMAX, BALANCED], name=name) for name in ("one", "another")]
    (match,) = matches(toy, plans)
    assert match.grid == "one"


def test_groups_classes_and_verdict(toy):
    (match,) = matches(toy, [toy.plan([SOFTMAX, BALANCED])], skip={("BS", 1)})
    comparison = match.compare()
    overall, classes = build(HEAD_TO_HEAD, Match(match, comparison, max_classes=3))
    rows = [said(overall, row) for row in overall.rows]
    assert [row[:3] for row in rows] == [
        ["All", "63.7 (1/2 seeds)", "46.7 (1/2 seeds)"],
        ["Many", "83.0 (1/2 seeds)", "85.0 (1/2 seeds)"],
        ["Medium", "63.0 (1/2 seeds)", "50.0 (1/2 seeds)"],
        ["Few", "45.0 (1/2 seeds)", "5.0 (1/2 seeds)"],
    ]
    assert "BS is better than Softmax (p < 0.001; 1 of 2 seeds, so" in overall.caption
    assert "51 predictions are correct with BS alone, 0 with Softmax alone." in overall.caption
    assert [row[0].text for row in classes.rows] == ["4", "5", "3"]  # of equal ones the first
    first = said(classes, classes.rows[0])
    assert first[:3] == ["4", "few", "10"]
    assert first[-1].startswith("+40.0 (")
    assert classes.rows[0][-1].value.keys == comparison.keys


def test_the_interval_of_classes_does_not_pair_images(toy):
    plan = toy.plan([SOFTMAX], seeds=(0, 1))
    runs = [
        toy.record(job, hits).test
        for job, hits in zip(plan.jobs.values(), [(25,) * 6, (25,) * 6], strict=False)
    ]
    same = change([(runs[0], runs[1])], [2])
    spread = 1.96 * 100 * (2 * (26 / 52) ** 2 / 50) ** 0.5
    assert same.difference == 0
    assert same.interval == pytest.approx((-spread, spread), rel=0.03)
    twice = change([(runs[0], runs[1])] * 2, [2])
    assert twice.interval == pytest.approx(same.interval)  # seeds do not add images
    many = change([(runs[0], runs[1])], range(6))
    assert many.interval[1] == pytest.approx(spread / 6**0.5, rel=0.03)


def test_classes_without_test_images_are_ignored(toy):
    plan = toy.plan([SOFTMAX], seeds=(0,))
    job = next(iter(plan.jobs.values()))
    test = toy.record(job, (5, 0, 5, 5, 5, 5), totals=(10, 0, 10, 10, 10, 10)).test
    assert change([(test, test)], [1]) is None
    assert change([(test, test)], [0, 1]).ours == 50.0
