"""The choice of hyper-parameters by trials."""

from dataclasses import replace

import pytest

from ltbench.analysis.result_set import boards
from ltbench.analysis.training_cost import training_flops, training_time
from ltbench.analysis.tuning import tuning_problems, tunings
from tests.support.errors import problems

LABELS = ("margin 0.1", "margin 0.2", "margin 0.3")
HITS = {
    LABELS[0]: (30,) * 6,
    LABELS[1]: (45, 45, 45, 20, 15, 13),
    LABELS[2]: (31, 30, 30, 30, 30, 32),
}
"""Of 50 a class: the third has the highest mean, but for the second in its first classes."""


def variants(labels=LABELS, of="LDAM"):
    return [
        {
            "label": label,
            "method": "ldam_drw",
            "hparams": {"max_margin": float(label.split()[1])},
            "trial_of": of,
        }
        for label in labels
    ]


@pytest.fixture
def trials(toy):
    """The plan of a grid of trials."""
    return toy.plan(variants(), splits=("longtailed",), dataset=dataset(toy), name="tuning")


def dataset(toy, **changes):
    return toy.dataset(tested_on="auxiliary", **changes)


def records(toy, plan, hits=HITS):
    """Return records with the hits of each trial, one more image right with seed 1."""
    return toy.stored(
        *(
            toy.record(
                plan.jobs[row.key],
                (hits[row.variant.label][0] + row.seed, *hits[row.variant.label][1:]),
            )
            for row in plan.rows
        )
    )


def test_the_highest_mean_of_class_accuracies_is_chosen(toy, trials):
    (tuning,) = tunings(trials, records(toy, trials))
    assert [float(100 * trial.accuracy) for trial in tuning.trials] == pytest.approx(
        [60 + 1 / 6, 61.1666667, 61.1666667]
    )
    assert tuning.best.variant.label == LABELS[1]  # the first of equals
    tuned = tuning.variant
    assert (tuned.label, tuned.trial_of) == ("LDAM (tuned)", None)
    assert tuned.hparams == {"max_margin": 0.2}
    assert set(tuned.trials) == {row.key for row in trials.rows}


def planned(toy, *more, **changes):
    return toy.plan(
        [{"label": "Softmax", "method": "softmax"}, *more], splits=("longtailed",), **changes
    )


def test_a_tuned_variant_is_what_its_trials_give(toy, trials):
    found = records(toy, trials)
    tuned = tunings(trials, found)[0].variant.model_dump(exclude_defaults=True)
    assert tuning_problems([planned(toy, tuned)], found) == []
    other = tuned | {"hparams": {"max_margin": 0.1}}
    for variant, known, code in ((other, found, "mismatch"), (tuned, {}, "missing-record")):
        (problem,) = tuning_problems([planned(toy, variant)], known)
        assert (problem.file, problem.code) == ("grid toy_grid", code)


def test_on_the_balanced_split_a_tuned_variant_is_what_its_method_reduces_to(toy):
    swept = [{"label": "BS, tau 2", "method": "balanced_softmax", "hparams": {"tau": 2.0}}]
    swept[0]["trial_of"] = "BS"
    trials = toy.plan(swept, splits=("longtailed",), dataset=dataset(toy), name="tuning")
    found = toy.stored(*(toy.record(job, (30,) * 6) for job in trials.jobs.values()))
    tuned = tunings(trials, found)[0].variant.model_dump(exclude_defaults=True)
    assert tuning_problems([toy.plan([tuned], splits=("balanced", "longtailed"))], found) == []


def test_the_cost_of_trials_is_that_of_the_tuned_variant(toy, trials):
    found = records(toy, trials)
    tuned = tunings(trials, found)[0].variant.model_dump(exclude_defaults=True)
    plan = planned(toy, tuned, seeds=(0,))
    found |= toy.stored(*(toy.record(job, (40,) * 6) for job in plan.jobs.values()))
    softmax, row = boards(plan, found)[0].entries
    jobs = 1 + len(trials.rows)
    for cost in (
        lambda entry: training_flops(entry, toy.methods, found).megaflops,
        lambda entry: training_time(entry, found).seconds,
    ):
        assert cost(row) == jobs * cost(softmax)
    without = {key: stored for key, stored in found.items() if key != tuned["trials"][0]}
    assert training_time(boards(plan, without)[0].entries[1], without) is None


@pytest.mark.parametrize(
    ("listed", "path", "code"),
    [
        ([{"label": "A", "method": "softmax"}], "", "no-effect"),
        ([*variants(), *variants(("margin 0.4",), "B")], "variants", "conflict"),
    ],
)
def test_grids_that_no_values_can_be_chosen_by_are_refused(toy, listed, path, code):
    plan = toy.plan(listed, splits=("longtailed",), dataset=dataset(toy))
    found = toy.stored(*(toy.record(job, (1,) * 6) for job in plan.jobs.values()))
    assert problems(lambda: tunings(plan, found)) == [("grid toy_grid", path, code)]


def test_values_are_chosen_for_one_board(toy, trials):
    other = toy.plan(variants(), splits=("longtailed",), dataset=dataset(toy, imbalance_ratio=10))
    both = replace(trials, rows=(*trials.rows, *other.rows))
    found = records(toy, trials) | records(toy, other)
    assert problems(lambda: tunings(both, found)) == [("grid tuning", "", "conflict")]


def test_trials_without_a_record_are_counted(toy, trials):
    found = records(toy, trials)
    del found[trials.rows[0].key]
    assert problems(lambda: tunings(trials, found)) == [("grid tuning", "", "missing-record")]
