import base64
import json
from fractions import Fraction

import numpy as np
import pytest
from pydantic import ValidationError

from ltbench.core.label_shift import Shift
from ltbench.core.types import Stage
from ltbench.runs import record as schema
from ltbench.runs.record import Record
from tests.support.made_records import evaluation_result

HITS = (45, 40, 30, 20, 5, 1)
PREDICTED = (149, 40, 60, 40, 5, 6)
PASSES = {"gradient": 0.94, "forward": 1.0, "teachers": 2}


@pytest.fixture
def record(toy):
    plan = toy.plan([{"label": "Softmax", "method": "softmax"}])
    test = evaluation_result(HITS, (50,) * 6, predicted=PREDICTED)
    return toy.record(plan.jobs[toy.key_of(plan, "Softmax")], HITS, test=test)


def change(record, **values):
    """Return the record's JSON values with some replaced by dotted name."""
    data = record.model_dump(mode="json")
    for path, value in values.items():
        *parents, last = path.split("__")
        place = data
        for parent in parents:
            place = place[parent]
        place[last] = value
    return data


def test_round_trip(record):
    assert Record.model_validate_json(record.model_dump_json(), strict=True) == record


@pytest.mark.parametrize("images", [1, 7, 8, 9, 300])
def test_bits_round_trip(images):
    bits = np.random.default_rng(images).random(images) < 0.5
    packed = schema.EvaluationResult.pack(bits)
    result = evaluation_result((int(bits.sum()),), (images,), correct=packed)
    assert (result.bits() == bits).all()


@pytest.mark.parametrize(
    "path",
    [
        *("training__passes", "cost__cpu_seconds", "test__predicted", "test__auroc_pairs"),
        *("test__average_precision", "test__group_calibration"),
    ],
)
def test_refuses_a_record_without(record, path):
    part, field = path.split("__")
    data = record.model_dump(mode="json")
    del data[part][field]
    with pytest.raises(ValidationError, match=f"{part}.{field}\n  Field required"):
        Record.model_validate(data)


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("key", "0" * 16, "is not the key of its job"),
        ("method", "balanced_softmax", "is not that of its job"),
        ("job__seed", 5, "is not the key of its job"),
        ("test__hits", [45, 40, 30, 20, 5, 2], "disagree with hits"),
        ("test__hits", [51, 34, 30, 20, 5, 1], "between 0 and its total"),
        ("test__totals", [0] * 6, "between 0 and its total"),
        ("test__correct", "AAAA", "do not fit 300 test images"),
        ("test__correct", "not base64!", "base64"),
        ("test__calibration__ece", float("nan"), "finite"),
        ("test__calibration__accuracy", [0.5, 0.5], "one value a bin"),
        ("test__calibration__counts", [301], "calibration is of 301 of 300 test images"),
        ("split__bad_images", 3, "bad images"),
        ("training__losses", [2.0, 1.0], "2 losses for 3 epochs"),
        ("training__losses", [2.0, 1.0, float("inf")], "finite"),
        (
            "training",
            {"epochs": 2, "steps": 30, "losses": [2.0, 1.0], "passes": PASSES},
            "trained 2 of 3 epochs",
        ),
        ("split__train_counts", [1, 2], "2 values for 6 classes"),
        ("training__active_steps", {"pull": [3, 2]}, "pull was active in 3 of 2 steps"),
        ("training__active_steps", {"pull": [0, 0]}, "pull was active in 0 of 0 steps"),
        ("grid", "../../x", "pattern"),
        ("extra", 1, "Extra inputs"),
    ],
)
def test_refuses(record, path, value, message):
    with pytest.raises(ValidationError, match=message):
        Record.model_validate(change(record, **{path: value}))


def test_optional_fields_are_compared_if_both_records_have_them(record):
    named, other = (
        Record.model_validate_json(json.dumps(change(record, split__class_names=list(names))))
        for names in ("abcdef", "abcdeg")
    )
    assert named.repeats(record)
    assert record.repeats(named)
    assert not named.repeats(other)


def test_predictions_are_of_all_test_images(record):
    predicted = list(record.test.predicted)
    other = [predicted[0] + 1, *predicted[1:-1], predicted[-1] - 1]
    assert not record.repeats(Record.model_validate(change(record, test__predicted=other)))
    for wrong, message in ((predicted[1:], "one value a class"), ([0] * 6, "of all test images")):
        with pytest.raises(ValidationError, match=message):
            Record.model_validate(change(record, test__predicted=wrong))
    none_of_the_first = [0, sum(predicted), 0, 0, 0, 0]
    with pytest.raises(ValidationError, match="more than its predictions"):
        Record.model_validate(change(record, test__predicted=none_of_the_first))


CONFUSION = [
    {"0": 45, "5": 5},
    {"0": 10, "1": 40},
    {"2": 30, "3": 20},
    {"2": 30, "3": 20},
    {"0": 45, "4": 5},
    {"0": 49, "5": 1},
]
"""Of HITS of 50 images a class."""

COMPLETE = {
    "test__confusion": CONFUSION,
    "training__hits": [9, 8, 7, 6, 5, 0],
    "training__active_steps": {"pull": [1, 2], "push": [2, 2]},
    "weights__trained": 0,
    "weights__read": 1000,
    "environment__processor": "CPU (2 cores)",
    "environment__bf16": "emulated",
    "environment__gpu_memory_mb": 81559.0,
}


@pytest.fixture
def complete(record):
    return Record.model_validate_json(json.dumps(change(record, **COMPLETE)), strict=True)


def test_a_complete_record_agrees_with_one_without_optional_fields(record, complete):
    assert Record.model_validate_json(complete.model_dump_json(), strict=True) == complete
    assert complete.repeats(record)
    assert record.repeats(complete)
    others = {
        "test__auroc_pairs": [0, *complete.test.auroc_pairs[1:]],
        "test__confusion": [
            {"0": 45, "3": 5},
            CONFUSION[1],
            {"2": 30, "3": 15, "5": 5},
            *CONFUSION[3:],
        ],
        "training__hits": [8, 8, 7, 6, 5, 0],
        "training__active_steps": {"pull": [1, 2], "push": [1, 2]},
        "weights__read": 999,
    }
    for path, value in others.items():
        assert not complete.repeats(Record.model_validate(change(complete, **{path: value})))


def test_a_record_is_written_without_unset_fields(record, complete):
    older, newer = (r.model_dump(mode="json", exclude_unset=True) for r in (record, complete))
    for path, value in COMPLETE.items():
        part, field = path.split("__")
        assert field not in older[part]
        assert newer[part][field] == value


def test_confusion_is_a_matrix_whose_sums_are_counts(record, complete):
    assert record.test.confusion_matrix() is None
    matrix = complete.test.confusion_matrix()
    assert matrix[4].tolist() == [45, 0, 0, 0, 5, 0]
    assert tuple(matrix.sum(axis=0)) == complete.test.predicted
    assert tuple(matrix.sum(axis=1)) == complete.test.totals
    assert tuple(matrix.diagonal()) == complete.test.hits


@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        ("test__confusion", CONFUSION[1:], "one row a class"),
        ("test__confusion", [{"0": 45, "5": 4}, *CONFUSION[1:]], "one row a class"),
        ("test__confusion", [{"0": 44, "5": 6}, *CONFUSION[1:]], "with hits"),
        ("test__confusion", [{"0": 45, "6": 5}, *CONFUSION[1:]], "class that does not exist"),
        ("test__confusion", [{"0": 45, "4": 5}, *CONFUSION[1:]], "with predicted"),
        ("test__confusion", [{"0": 45, "4": 0, "5": 5}, *CONFUSION[1:]], "greater than or equal"),
        ("test__confusion_sha256", "a" * 64, "not both"),
        ("test__auroc_pairs", [1] * 5, "auroc_pairs"),
        ("test__auroc_pairs", [25001, 0, 0, 0, 0, 0], "auroc_pairs"),
        ("test__auroc_pairs", [-1, 0, 0, 0, 0, 0], "greater than or equal"),
        ("test__average_precision", [0.5] * 5, "average_precision"),
        ("test__average_precision", [None, *[0.5] * 5], "average_precision"),
        ("test__average_precision", [0.0, *[0.5] * 5], "greater than"),
        ("training__hits", [1] * 5, "5 values for 6 classes"),
        ("training__hits", [100_000, 0, 0, 0, 0, 0], "training hits"),
        ("weights__trained", 1001, "than all parameters"),
        ("weights__read", 1001, "than all parameters"),
        ("environment__bf16", "fast", "environment.bf16"),
        ("cost__cpu_seconds", -1.0, "greater than or equal"),
    ],
)
def test_refuses_inconsistent_values(complete, path, value, message):
    with pytest.raises(ValidationError, match=message):
        Record.model_validate(change(complete, **{path: value}))


@pytest.mark.parametrize(
    ("part", "field", "default"),
    [("test", "selection", "last_epoch"), ("split", "bad_images", 0), ("cost", "memory", "host")],
)
def test_a_default_equals_an_unset_field(record, part, field, default):
    said = change(record, **{f"{part}__{field}": default})
    silent = change(record, **{f"{part}__{field}": default})
    del silent[part][field]
    one, other = map(Record.model_validate, (said, silent))
    assert one.repeats(other)
    assert other.repeats(one)


def test_derived_fields_need_not_repeat(record):
    other = Record.model_validate(change(record, test__calibration__ece=0.25))
    assert other.repeats(record)
    other = Record.model_validate(change(record, test__calibration__confidence=[0.25]))
    assert not other.repeats(record)


SHIFTED = {
    "direction": "forward",
    "ratio": 50,
    "index_hash": "e" * 64,
    "hits": [5, 2, 1, 1, 0, 0],
    "totals": [5, 3, 2, 1, 1, 1],
}


def test_shifted_tests_are_part_of_a_record(record):
    data = change(record, shifted={"test_time": "transductive", "tests": [SHIFTED]})
    read = Record.model_validate_json(json.dumps(data), strict=True)
    assert read.shifted.accuracy(Shift("forward", 50)) == Fraction(9, 13)
    assert read.shifted.accuracy(Shift("forward", 25)) is None
    assert read.numbers() != record.numbers()
    assert read.repeats(record)  # which has none
    assert record.repeats(read)
    other = change(read, shifted__test_time="known_test_prior")
    assert not read.repeats(Record.model_validate(other))
    other = change(record, test__selection="last_epoch", weights__sha256="d" * 64)
    assert not read.repeats(Record.model_validate(other))


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"hits": [6, 2, 1, 1, 0, 0]}, "between 0 and its total"),
        ({"hits": [5], "totals": [5]}, "totals of Forward 50 has 1 values for 6 classes"),
        ({"index_hash": "e"}, "index_hash"),
        ({"direction": "sideways"}, "direction"),
    ],
)
def test_refuses_shifted_tests(record, values, message):
    data = change(record, shifted={"test_time": "transductive", "tests": [SHIFTED | values]})
    with pytest.raises(ValidationError, match=message):
        Record.model_validate(data)


def test_pretraining_is_trained_and_not_tested(record):
    untested = Record.model_validate(change(record, test=None))
    assert untested.accuracy is None
    assert Record.model_validate_json(untested.model_dump_json(), strict=True) == untested
    with pytest.raises(ValidationError, match="neither trained nor tested"):
        Record.model_validate(change(record, test=None, training=None))


def test_refuses_bits_after_the_last_image(record):
    packed = bytearray(base64.b64decode(record.test.correct))
    packed[0] ^= 0x80  # one hit less ...
    packed[-1] |= 1  # ... and one in the padding: 300 images leave four bits
    text = base64.b64encode(packed).decode()
    with pytest.raises(ValidationError, match="after the last test image"):
        Record.model_validate(change(record, test__correct=text))


def test_numbers_leave_out_cost_environment_and_names(record):
    other = change(record, cost__train_seconds=9.0, environment__hardware="other", grid="other")
    other["job"]["label"] = "Another name"
    assert Record.model_validate(other).numbers() == record.numbers()
    moved = change(record, weights__sha256="d" * 64)
    assert Record.model_validate(moved).numbers() != record.numbers()


def test_auxiliary_images_are_recorded_for_jobs_that_have_them(toy):
    apart = toy.dataset(auxiliary={"source": "train_holdout", "per_class": 5})
    tuned = toy.method(
        "tuned", "Tuned", "baseline", stage=Stage("train", tunes_on_validation="end")
    )
    variants = [{"label": "Tuned", "method": "tuned"}]
    plan = toy.plan(variants, dataset=apart, methods={"tuned": tuned})
    job = plan.jobs[toy.key_of(plan, "Tuned")]
    plain = toy.plan([{"label": "Softmax", "method": "softmax"}])
    other = toy.record(plain.jobs[toy.key_of(plain, "Softmax")], HITS)
    with pytest.raises(ValidationError, match="auxiliary images, their hash and their counts"):
        toy.record(job, HITS, split=other.split)
    facts = other.split.model_copy(
        update={"auxiliary_hash": "d" * 64, "auxiliary_counts": (5, 5, 5, 5, 5, 2)}
    )
    assert toy.record(job, HITS, split=facts).split == facts
    with pytest.raises(ValidationError, match="auxiliary images, their hash and their counts"):
        Record.model_validate(other.model_dump() | {"split": facts.model_dump()})
    short = facts.model_copy(update={"auxiliary_counts": (5,)})
    with pytest.raises(ValidationError, match="auxiliary_counts has 1 values for 6 classes"):
        toy.record(job, HITS, split=short)
