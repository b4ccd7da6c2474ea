import pytest
from hypothesis import given
from hypothesis import strategies as st

from ltbench.config.files import available
from ltbench.config.load import load_dataset
from ltbench.data.imbalance import (
    IMBALANCE_TYPES,
    balanced_counts,
    exponential_counts,
    longtailed_counts,
    split_counts,
    split_size,
    step_counts,
)

TOTALS = {("cifar10", 10): 20431, ("cifar10", 50): 13996, ("cifar10", 100): 12406}
TOTALS |= {("cifar100", 10): 19573, ("cifar100", 50): 12608, ("cifar100", 100): 10847}


@pytest.mark.oracle("cifar_lt_counts", level="case", has=["exp_0.01"])
def test_counts_of_longtailed_cifar(oracle):
    compared = 0
    for name, expected in oracle.own.items():
        kind, _, factor = name.rpartition("_")
        counts = {
            "exp": exponential_counts,
            "cbrepo_exp": exponential_counts,
            "step": step_counts,
        }[kind]
        got = counts(len(expected), int(expected[0]), 1 / float(factor))
        assert got == expected.tolist(), name
        compared += 1
    assert compared >= 6


@pytest.mark.parametrize(("key", "total"), TOTALS.items())
def test_totals_of_the_shipped_configurations(key, total):
    name, ratio = key
    spec = load_dataset(name).model_copy(update={"imbalance_ratio": float(ratio)})
    assert sum(split_counts(spec, "longtailed")) == total


@given(
    kind=st.sampled_from(sorted(IMBALANCE_TYPES)),
    classes=st.integers(2, 300),
    largest=st.integers(1, 6000),
    ratio=st.floats(1, 500),
)
def test_counts_fall_from_largest_to_largest_over_ratio(kind, classes, largest, ratio):
    counts = IMBALANCE_TYPES[kind](classes, largest, ratio)
    assert len(counts) == classes
    assert counts[0] == largest
    assert counts == sorted(counts, reverse=True)
    assert abs(counts[-1] - largest / ratio) <= 1


def test_pareto_has_a_thinner_middle_than_the_exponential():
    pareto, exp = IMBALANCE_TYPES["pareto"](100, 500, 100), exponential_counts(100, 500, 100)
    assert pareto[0] == exp[0]
    assert pareto[-1] == exp[-1]
    assert all(p <= e for p, e in zip(pareto, exp, strict=True))
    assert pareto[50] < 0.8 * exp[50]


def test_counts_without_images(digits):
    assert split_counts(digits, "longtailed") == [120, 86, 61, 44, 31, 22, 16, 11, 8, 6]
    assert split_counts(digits, "balanced") == [40] * 10
    assert split_counts(digits, "longtailed", "few") == [11, 8, 6]
    assert split_counts(digits, "balanced", "many") == [40] * 3
    by_shots = digits.model_copy(update={"shot_rule": "shots"})
    assert split_counts(by_shots, "balanced", "few") == [40] * 4
    assert (split_size(digits, "longtailed"), split_size(digits, "balanced")) == (405, 400)
    assert split_counts(digits.model_copy(update={"max_per_class": None}), "longtailed") is None
    natural = digits.model_copy(update={"imbalance_type": "natural", "imbalance_ratio": None})
    assert split_counts(natural, "longtailed") is split_size(natural, "longtailed") is None
    assert longtailed_counts(natural, [3, 1, 2]) == [3, 1, 2]


def test_max_per_class_defaults_to_the_mean_class_size(digits):
    spec = digits.model_copy(update={"max_per_class": None})
    assert longtailed_counts(spec, [130, 128] * 5)[0] == 129


def test_classes_may_be_ordered_by_their_size(make_spec):
    changes = {"imbalance_type": "exponential", "imbalance_ratio": 4, "max_per_class": 8}
    spec = make_spec(**changes, class_order="size")
    assert longtailed_counts(spec, [5, 9, 7]) == [2, 8, 4]
    assert longtailed_counts(spec, [7, 7, 7]) == [8, 4, 2]
    assert longtailed_counts(spec, ()) == [8, 4, 2]
    assert longtailed_counts(make_spec(**changes), [5, 9, 7]) == [8, 4, 2]


def test_balanced_counts_keep_the_total_but_for_a_remainder():
    assert balanced_counts([5, 3, 2]) == [3, 3, 3]


@pytest.mark.parametrize("name", available("datasets"))
def test_shipped_configurations_can_be_made(name):
    spec = load_dataset(name)
    if spec.imbalance_ratio is not None:
        assert min(split_counts(spec, "longtailed")) > 0
