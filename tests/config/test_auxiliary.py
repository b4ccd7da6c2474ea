"""Which jobs have auxiliary images, and in whose keys they are."""

import pytest

from ltbench.config.dataset import Auxiliary, DatasetSpec
from ltbench.config.errors import Location
from ltbench.config.validation import validate
from ltbench.core.types import Stage, Teacher
from tests.config.test_planning import DIGITS, REGISTRY, SPLITS, job, plan, row, v, with_method
from tests.support.errors import problems

VALIDATED = {"source": "medmnist", "test_per_class": None}
"""A source with validation images."""


def apart(source, per_class=0):
    auxiliary = Auxiliary(source=source, per_class=per_class)
    changes = VALIDATED if source == "official_val" else {}
    return DIGITS.model_copy(update={"auxiliary": auxiliary, **changes})


def keys(made):
    return {row.key for row in made.rows}


VALIDATING = (Stage("train"), Stage("choose", is_trained=False, tunes_on_validation="end"))


def test_images_are_held_out_where_a_dataset_has_no_validation_images():
    assert job(plan("uno_ic"), "uno_ic").dataset.auxiliary == Auxiliary(
        source="train_holdout", per_class=10
    )
    official = DIGITS.model_copy(update=VALIDATED)
    auxiliary = job(plan("uno_ic", dataset=official), "uno_ic").dataset.auxiliary
    assert auxiliary == Auxiliary(source="official_val")


@pytest.mark.parametrize(
    "dataset", [apart("train_holdout", 5), apart("unused_pool", 5)], ids=["held-out", "unused"]
)
def test_other_methods_keep_their_keys(dataset):
    methods = ("softmax", "crt", "ldam_drw", "ride_distill")
    plain, beside = (
        plan(*methods, *more, splits=SPLITS, dataset=each)
        for each, more in ((DIGITS, ()), (dataset, ("uno_ic",)))
    )
    assert keys(plain) < keys(beside)
    assert "auxiliary" not in job(beside, "softmax").identity()["dataset"]


def test_auxiliary_images_are_in_the_key_of_what_chooses_on_them():
    sources = (
        apart("train_holdout", 5),
        apart("train_holdout", 6),
        apart("unused_pool", 5),
        apart("official_val"),
    )
    assert len({row(plan("uno_ic", dataset=each), "uno_ic").key for each in sources}) == 4
    default, same = plan("uno_ic"), plan("uno_ic", dataset=apart("train_holdout", 10))
    assert keys(default) == keys(same)


def test_a_method_with_held_out_images_starts_from_a_network_not_trained_on_them():
    made = plan("softmax", "crt", "uno_ic", "tau_norm_validated", splits=SPLITS)
    for split in SPLITS:
        (init,) = job(made, "uno_ic", split).depends_on
        assert job(made, "tau_norm_validated", split).depends_on == (init,)
        assert init != row(made, "softmax", split).key
        assert made.jobs[init].label == "softmax, less held-out images"
        assert made.jobs[init].dataset == job(made, "uno_ic", split).dataset
        assert job(made, "crt", split).depends_on == (row(made, "softmax", split).key,)


def test_unused_images_do_not_change_init_jobs():
    made = plan("softmax", "uno_ic", dataset=apart("unused_pool", 5))
    assert job(made, "uno_ic").depends_on == (row(made, "softmax").key,)


def test_no_init_job_teacher_or_earlier_stage_trains_on_held_out_images():
    registry = with_method(
        "choosy", stages=VALIDATING, teachers=(Teacher("ldam_drw"),), init_from="crt"
    )
    made = plan("choosy", registry=registry)
    assert {each.method for each in made.jobs.values()} == {"softmax", "crt", "ldam_drw", "choosy"}
    assert all(each.dataset.auxiliary is not None for each in made.jobs.values())

    made = plan("choosy", registry=registry, dataset=apart("unused_pool", 5))
    with_images = [each.stage for each in made.jobs.values() if each.dataset.auxiliary]
    assert with_images == ["choose"]


def test_a_stage_that_trains_with_held_out_images_has_them_in_its_key():
    registry = with_method("meta", stages=(Stage("train", has_auxiliary_stream=True),))
    for dataset in (DIGITS, apart("unused_pool", 5)):
        made = plan("meta", "softmax", registry=registry, dataset=dataset)
        assert job(made, "meta").dataset.auxiliary == dataset.auxiliary_or_default
        assert job(made, "softmax").dataset.auxiliary is None


def test_hyper_parameters_decide_whether_a_stage_needs_held_out_images():
    held_out = v("BALMS", "balanced_meta_softmax", hparams={"meta_images": "held_out"})
    made = plan(held_out, "balanced_meta_softmax", "softmax")
    assert job(made, "balanced_meta_softmax").depends_on == (row(made, "softmax").key,)
    (init,) = job(made, "BALMS").depends_on
    assert made.jobs[init].dataset.auxiliary == job(made, "BALMS").dataset.auxiliary is not None


def test_a_variant_that_starts_from_a_method_with_held_out_images_trains_on_all():
    registry = with_method("choosy", stages=VALIDATING)
    made = plan(v("cRT", "crt", init_from="choosy"), "choosy", registry=registry)
    assert job(made, "cRT").dataset.auxiliary is None
    assert job(made, "cRT").depends_on == (row(made, "choosy").key,)


def test_the_registry_says_which_methods_need_held_out_images():
    needed = {key: any(s.needs_auxiliary for s in REGISTRY[key].stages) for key in REGISTRY}
    assert [key for key in REGISTRY if needed[key]] == [
        "meta_weight_net",
        "uno_ic",
        "tau_norm_validated",
        "metasaug",
        "fasa",
    ]


@pytest.mark.parametrize(
    ("changes", "path", "code"),
    [
        ({"auxiliary": {"source": "test"}}, "auxiliary.source", "unknown-value"),
        ({"auxiliary": {"source": "train_holdout"}}, "auxiliary", "conflict"),
        (
            {"auxiliary": {"source": "unused_pool", "per_class": -1}},
            *("auxiliary.per_class", "out-of-range"),
        ),
        (
            {"auxiliary": {"source": "train_holdout", "per_class": 1, "k": 3}},
            *("auxiliary.k", "unknown-key"),
        ),
        ({"auxiliary": {"source": "official_val"}}, "auxiliary", "conflict"),
        (
            {"source": "image_folder", "test_per_class": None, "val_folder": "test"},
            *("val_folder", "conflict"),
        ),
    ],
)
def test_bad_auxiliary_data_is_refused(changes, path, code):
    values = DIGITS.model_dump(mode="json") | changes
    assert problems(lambda: validate(DatasetSpec, values, Location("x"))) == [("x", path, code)]


TESTED = DIGITS.model_copy(update={"tested_on": "auxiliary"})


def test_jobs_that_are_tested_on_auxiliary_images_hold_them_out_in_each_stage():
    made = plan("softmax", "crt", dataset=TESTED)
    held_out = Auxiliary(source="train_holdout", per_class=10)
    assert {each.dataset.auxiliary for each in made.jobs.values()} == {held_out}
    assert {row.dataset.id for row in made.rows} == {"digits_r20_on_auxiliary"}
    assert keys(made).isdisjoint(keys(plan("softmax", "crt")))


def test_a_method_is_not_tested_on_images_that_it_uses_itself():
    found = problems(lambda: plan("softmax", "uno_ic", "meta_weight_net", dataset=TESTED))
    assert found == [("grid toy", f"variants[{i}]", "conflict") for i in (1, 2)]
