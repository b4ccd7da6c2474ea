from fractions import Fraction

import pytest

from ltbench.analysis.published import OURS, PublishedNumber
from ltbench.analysis.reproduction import claims, row_name, verdicts
from ltbench.analysis.result_set import Estimate, boards

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


def test_published_records_are_claims_with_their_seeds(toy):
    made = board(toy, [(2,) * 6, (4,) * 6])
    found = {claim.metric: claim for claim in claims(made, made.entries[0])}
    acc = made.entries[0].values["acc"]
    assert found["acc"] == PublishedNumber("acc", acc.mean, OURS, acc.std, 2)
    assert "ua" not in found
    assert claims(made, made.entries[1]) == []


@pytest.mark.parametrize(
    ("published", "std", "ours", "tolerance", "word"),
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
    toy, published, std, ours, tolerance, word
):
    entry = board(toy, [(1,) * 6] * 2).entries[0]
    entry.values["acc"] = ours
    n = 1 if std is None else 2
    (verdict,) = verdicts([PublishedNumber("acc", published, "a paper", std, n)], entry, 1.0)
    assert verdict.tolerance == pytest.approx(tolerance)
    assert verdict.word == word
