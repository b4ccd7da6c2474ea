"""Which jobs a grid means, and which of them are one."""

import json

import pytest

from ltbench.config.grid import Grid
from ltbench.config.load import load_dataset, load_recipe
from ltbench.config.planning import expand
from ltbench.config.recipe import Recipe
from ltbench.config.registry import MethodRegistry, load_registry
from ltbench.core.types import Stage, Teacher
from tests.support.errors import problems, problems_of

REGISTRY = load_registry()
DIGITS = load_dataset("digits")
BASE = load_recipe("digits")
SPLITS = ("longtailed", "balanced")
NATURAL = {"imbalance_type": "natural", "imbalance_ratio": None, "max_per_class": None}


def recipe(name, **changes):
    return Recipe(**json.loads(BASE.model_dump_json()) | changes | {"name": name})


RECIPES = {
    "digits": BASE,
    "slow": recipe("slow", batch_size=64),
    "deep": recipe("deep", network="resnet20"),
    "group": recipe("group", norm="group"),
}


def plan(*variants, splits=("longtailed",), dataset=DIGITS, registry=REGISTRY, **fields):
    how = {name: fields.pop(name) for name in ("present", "overrides") if name in fields}
    known = fields.pop("known", RECIPES)
    values = {"recipes": ("digits",), "seeds": (0,)} | fields
    grid = Grid(
        name="toy",
        title="Toy",
        datasets=(dataset.name,),
        splits=splits,
        variants=variants,
        **values,
    )
    return expand(grid, [dataset], known, registry, **how)


def v(label, method, **fields):
    return {"label": label, "method": method, **fields}


def row(plan, label, split="longtailed"):
    (found,) = (r for r in plan.rows if (r.variant.label, r.split) == (label, split))
    return found


def job(plan, label, split="longtailed"):
    return plan.jobs[row(plan, label, split).key]


def with_method(key, **changes):
    """Return the registry with one more method, like softmax but for the changes."""
    info = REGISTRY["softmax"].model_copy(update={"key": key, "title": key.upper(), **changes})
    return MethodRegistry({**REGISTRY.methods, key: info})


def test_every_cell_is_a_row():
    made = plan("softmax", "ldam_drw", splits=SPLITS, seeds=(0, 1), recipes=("digits", "slow"))
    assert len(made.rows) == len(made.jobs) == 2 * 2 * 2 * 2
    assert len({row.key for row in made.rows}) == 16


def test_init_jobs_come_first():
    made = plan(v("cRT", "crt"), v("LWS", "lws", init_from="LDAM"), v("LDAM", "ldam_drw"))
    seen = set()
    for key, each in made.jobs.items():
        assert seen.issuperset(each.depends_on)
        seen.add(key)


def test_decoupled_methods_share_their_init_job():
    made = plan(
        "crt", "lws", "ncm", "tau_norm", v("My softmax", "softmax"), "posthoc_logit_adjustment"
    )
    init = row(made, "My softmax").key
    for label in ("crt", "lws", "ncm", "tau_norm", "posthoc_logit_adjustment"):
        assert job(made, label).depends_on == (init,)
    assert len(made.jobs) == 6


def test_a_default_init_job_has_no_row():
    made = plan("crt")
    assert len(made.rows) == 1
    (init,) = job(made, "crt").depends_on
    assert (made.jobs[init].method, made.jobs[init].label) == ("softmax", "Softmax")


def test_init_from_is_a_label_before_a_method():
    made = plan(v("softmax", "ldam_drw"), v("plain", "softmax"), "crt")
    assert job(made, "crt").depends_on == (row(made, "softmax").key,)


def test_a_method_as_it_is_has_no_settings_of_its_own():
    made = plan(
        v("LDAM, large", "ldam_drw", hparams={"scale": 60.0}),
        v("LDAM, slow", "ldam_drw", recipe="slow"),
        v("LDAM", "ldam_drw"),
        v("cRT", "crt", init_from="ldam_drw"),
    )
    assert job(made, "cRT").depends_on == (row(made, "LDAM").key,)
    made = plan(
        v("CB-cRT", "crt", init_from="class_balanced_sampling"), v("LWS", "lws", init_from="crt")
    )
    assert (
        made.jobs[job(made, "LWS").depends_on[0]].depends_on == job(plan("crt"), "crt").depends_on
    )


def test_a_row_names_its_init_job_and_method_path():
    registry = with_method("pupil", teachers=(Teacher("ldam_drw"),))
    made = plan(
        "softmax",
        "crt",
        "pupil",
        v("S2", "softmax", init_from="ldam_drw"),
        v("cRT of S2", "crt", init_from="S2"),
        v("LWS of cRT", "lws", init_from="crt"),
        v("LWS of cRT of S2", "lws", init_from="cRT of S2"),
        registry=registry,
    )
    starts = {r.variant.label: r.init_method for r in made.rows}
    assert starts == {
        "softmax": None,
        "crt": "softmax",
        "pupil": None,  # what it learns from is not what it continues from
        "S2": "ldam_drw",
        "cRT of S2": "ldam_drw+softmax",
        "LWS of cRT": "crt",
        "LWS of cRT of S2": "ldam_drw+softmax+crt",
    }
    assert row(made, "cRT of S2").init_job == row(made, "S2").key
    assert row(made, "pupil").init_job is None
    made = plan("softmax", "uno_ic")  # whose init job is trained without the images that it needs
    assert (row(made, "uno_ic").init_job,) == job(made, "uno_ic").depends_on
    assert len(made.jobs) == 3


def test_softmax_that_continues_from_another_is_not_the_reference():
    made = plan(v("S2", "softmax", init_from="ldam_drw"), splits=SPLITS)
    assert [r.variant.label for r in made.rows if r.needed_for_ua] == ["Softmax"]


PRETRAINING = with_method("pre", stages=(Stage("pretrain", is_evaluated=False),))


def test_pretraining_is_a_job_of_its_own_without_a_row():
    made = plan(
        v("Pre", "pre", recipe="slow"),
        v("Softmax + Pre", "softmax", init_from="Pre"),
        v("LDAM + Pre", "ldam_drw", init_from="Pre"),
        v("cRT + Pre", "crt", init_from="Softmax + Pre"),
        "softmax",
        registry=PRETRAINING,
    )
    assert "Pre" not in {r.variant.label for r in made.rows}
    (pre,) = (key for key, each in made.jobs.items() if each.method == "pre")
    assert made.jobs[pre].recipe.name == "slow"
    assert job(made, "Softmax + Pre").depends_on == job(made, "LDAM + Pre").depends_on == (pre,)
    assert row(made, "cRT + Pre").init_method == "pre+softmax"
    assert len(made.jobs) == 5
    assert "pre" in {
        each.method for each in made.only(lambda r: "cRT" in r.variant.label).jobs.values()
    }


def test_pretraining_without_a_variant_that_starts_from_it_is_refused():
    unused = ("softmax", v("Pre", "pre"))
    assert problems(lambda: plan(*unused, registry=PRETRAINING)) == [
        ("grid toy", "variants[1]", "no-effect")
    ]
    plan("pre", v("S", "softmax", init_from="pre"), registry=PRETRAINING)


def test_equal_settings_are_one_job_whatever_the_label():
    made = plan(
        v("A", "tau_norm"), v("B", "tau_norm", hparams=REGISTRY["tau_norm"].validate_hparams({}))
    )
    assert row(made, "A").key == row(made, "B").key
    assert job(made, "B").label == "A"


def test_stages_are_a_chain_of_jobs():
    stages = (
        Stage("network"),
        Stage("classifier", recipe_stage="stage2"),
        Stage("means", is_trained=False),
    )
    made = plan("two", registry=with_method("two", stages=stages))
    first, second, third = (made.jobs[key] for key in row(made, "two").jobs)
    assert [first.depends_on, second.depends_on, third.depends_on] == [
        (),
        (first.key,),
        (second.key,),
    ]
    assert [first.stage_recipe, second.stage_recipe] == [BASE.stage1, BASE.stage2]
    assert third.stage_recipe is None


def test_a_method_has_no_teacher_under_hyper_parameters_that_need_none():
    made = plan("m2m", v("alone", "m2m", hparams={"translations": False}))
    taught, alone = job(made, "m2m"), job(made, "alone")
    assert [made.jobs[key].method for key in taught.depends_on] == ["softmax"]
    assert (alone.depends_on, alone.hparams["translations"]) == ((), False)


def test_teachers_are_trained_under_the_same_recipe_and_come_last():
    teachers = (Teacher("softmax"), Teacher("ldam_drw", {"scale": 10.0}))
    registry = with_method("pupil", teachers=teachers, init_from="softmax")
    made = plan(v("pupil", "pupil", recipe="slow"), "softmax", registry=registry)
    init, softmax, ldam = (made.jobs[key] for key in job(made, "pupil").depends_on)
    assert init.key == row(made, "softmax").key
    assert (softmax.method, softmax.recipe.name) == ("softmax", "slow")
    assert (ldam.hparams["scale"], ldam.recipe.name) == (10.0, "slow")


def test_a_teacher_has_the_width_of_its_student():
    made = plan(v("full", "ride_distill", hparams={"reduced": False}), "ride_distill")
    students = [job(made, label) for label in ("full", "ride_distill")]
    teachers = [made.jobs[student.depends_on[-1]] for student in students]
    assert [student.hparams["reduced"] for student in students] == [False, True]
    assert [teacher.hparams["reduced"] for teacher in teachers] == [False, True]
    assert [teacher.hparams["experts"] for teacher in teachers] == [6, 6]


def test_members_of_an_ensemble_have_seeds_of_their_own_and_are_shared_with_other_rows():
    members = tuple(Teacher("softmax", seed_scale=2, seed_offset=m) for m in (0, 1))
    registry = with_method("ensemble", teachers=members)
    made = plan("ensemble", "softmax", registry=registry, seeds=(0, 1))
    own = {
        name: [r for r in made.rows if r.variant.label == name] for name in ("ensemble", "softmax")
    }
    needed = {row.seed: made.jobs[row.key].depends_on for row in own["ensemble"]}
    seeds = {seed: [made.jobs[key].seed for key in keys] for seed, keys in needed.items()}
    assert seeds == {0: [0, 1], 1: [2, 3]}
    assert needed[0] == tuple(row.key for row in own["softmax"])
    assert {made.jobs[key].label for keys in needed.values() for key in keys} == {"softmax"}
    assert len(made.jobs) == 2 + 4


EXPERTS = (
    Teacher("softmax", subset="many", batch_share=1 / 2),
    Teacher("softmax", subset="few", batch_share=1 / 8),
)


def test_experts_are_trained_on_their_group_in_smaller_batches():
    registry = with_method("pupil", teachers=EXPERTS)
    made = plan("pupil", "softmax", registry=registry, seeds=(0, 1), splits=SPLITS)
    many, few = (
        made.jobs[key] for key in job(made.only(lambda r: r.seed == 0), "pupil").depends_on
    )
    assert [(e.method, e.subset, e.recipe.batch_size) for e in (many, few)] == [
        ("softmax", "many", 16),
        ("softmax", "few", 4),
    ]
    assert (many.label, few.label) == ("Softmax, many-shot expert", "Softmax, few-shot expert")
    assert job(made.only(lambda r: r.seed == 0), "softmax").subset == "all"
    assert len(made.rows) == 2 * 2 * 2
    assert len(made.jobs) == 2 * 2 * 4


def test_experts_are_shared_and_a_tiny_batch_is_one_image():
    more = REGISTRY["softmax"].model_copy(update={"key": "other", "teachers": EXPERTS})
    both = MethodRegistry({**with_method("pupil", teachers=EXPERTS).methods, "other": more})
    made = plan("pupil", "other", registry=both)
    assert job(made, "pupil").depends_on == job(made, "other").depends_on
    assert len(made.jobs) == 4
    one = (Teacher("softmax", subset="few", batch_share=1e-3),)
    made = plan("pupil", registry=with_method("pupil", teachers=one))
    assert made.jobs[job(made, "pupil").depends_on[0]].recipe.batch_size == 1


def test_an_empty_group_has_no_expert():
    registry = with_method("pupil", teachers=EXPERTS)
    made = plan("pupil", registry=registry, present=lambda _: ("many", "medium"))
    assert [made.jobs[key].subset for key in job(made, "pupil").depends_on] == ["many"]
    made = plan("pupil", registry=registry, present=lambda _: ())
    assert job(made, "pupil").depends_on == ()


def test_with_equal_counts_a_method_that_is_softmax_takes_its_run():
    made = plan("softmax", "balanced_softmax", "logit_adjustment", "ldam_drw", splits=SPLITS)
    balanced_counterpart = row(made, "softmax", "balanced").key
    assert row(made, "balanced_softmax", "balanced").key == balanced_counterpart
    assert row(made, "logit_adjustment", "balanced").key == balanced_counterpart
    assert row(made, "ldam_drw", "balanced").key != balanced_counterpart
    assert row(made, "balanced_softmax").key != row(made, "softmax").key


def test_with_equal_counts_hyper_parameters_that_both_methods_have_are_kept():
    made = plan(
        v("Remix", "remix"),
        v("Remix, LDAM", "remix", hparams={"loss": "ldam", "alpha": 0.5, "ratio": 2.0}),
        v("Remix, ratio 2", "remix", hparams={"ratio": 2.0}),
        v("mixup, LDAM", "mixup", hparams={"loss": "ldam", "alpha": 0.5}),
        splits=SPLITS,
    )
    assert job(made, "Remix", "balanced").method == "mixup"
    assert row(made, "Remix, ratio 2", "balanced").key == row(made, "Remix", "balanced").key
    ldam = row(made, "Remix, LDAM", "balanced").key
    assert ldam == row(made, "mixup, LDAM", "balanced").key
    assert made.jobs[ldam].hparams == {"alpha": 0.5, "loss": "ldam"}


def test_with_equal_counts_an_adjustment_takes_the_run_of_its_init_job():
    made = plan(
        v("PH", "posthoc_logit_adjustment"),
        v("CB-PH", "posthoc_logit_adjustment", init_from="CB"),
        v("CB", "class_balanced_sampling"),
        "softmax",
        splits=SPLITS,
    )
    assert row(made, "PH", "balanced").key == row(made, "softmax", "balanced").key
    assert row(made, "CB-PH", "balanced").key == row(made, "CB", "balanced").key


def test_the_shared_run_has_the_same_recipe_and_init_job():
    made = plan(
        v("slow", "balanced_softmax", recipe="slow"),
        v("continued", "balanced_softmax", init_from="LDAM"),
        v("LDAM", "ldam_drw"),
        splits=SPLITS,
    )
    slow, continued = (
        job(made, "slow", "balanced"),
        job(made, "continued", "balanced"),
    )
    assert (slow.method, slow.recipe.name, slow.depends_on) == ("softmax", "slow", ())
    assert (continued.method, continued.depends_on) == (
        "softmax",
        (row(made, "LDAM", "balanced").key,),
    )


def test_the_balanced_split_brings_softmax_with_it():
    made = plan("ldam_drw", v("Slow softmax", "softmax", recipe="slow"), splits=SPLITS)
    added = [r for r in made.rows if r.needed_for_ua]
    assert [(r.variant.method, r.variant.recipe, r.split) for r in added] == [
        ("softmax", None, "balanced")
    ]
    assert not any(r.needed_for_ua for r in plan("softmax", "ldam_drw", splits=SPLITS).rows)
    assert not any(r.needed_for_ua for r in plan("ldam_drw").rows)


def test_a_natural_dataset_has_no_balanced_counterpart():
    natural = DIGITS.model_copy(update=NATURAL)
    made = plan("ldam_drw", splits=SPLITS, dataset=natural)
    assert [r.split for r in made.rows] == ["longtailed"]


def test_hyper_parameters_of_a_variant_win_over_rules(write):
    rule = "{when: {}, hparams: {scale: 10, max_margin: 0.3}, source: all}"
    write("methods/ldam_drw.yaml", f"rules: [{rule}]")
    made = plan("softmax", "ldam_drw", v("own", "ldam_drw", hparams={"scale": 20.0}))
    by_rule, own = job(made, "ldam_drw").hparams, job(made, "own").hparams
    assert (by_rule["scale"], own["scale"]) == (10.0, 20.0)
    assert (by_rule["max_margin"], own["max_margin"]) == (0.3, 0.3)


def test_overrides_are_noted_and_change_no_key():
    made, noted = plan("softmax"), plan("softmax", overrides=("recipe.batch_size=32",))
    assert made.jobs.keys() == noted.jobs.keys()
    assert job(noted, "softmax").ad_hoc
    assert not job(made, "softmax").ad_hoc


def test_only_keeps_the_jobs_that_are_needed():
    made = plan("softmax", "crt", "ldam_drw", seeds=(0, 1))
    chosen = made.only(lambda r: r.variant.label == "crt" and r.seed == 1)
    assert [(r.variant.label, r.seed) for r in chosen.rows] == [("crt", 1)]
    assert [(j.method, j.seed) for j in chosen.jobs.values()] == [("softmax", 1), ("crt", 1)]


def test_only_keeps_softmax_on_the_balanced_split():
    made = plan("softmax", "ldam_drw", splits=SPLITS, seeds=(0, 1))
    chosen = made.only(lambda r: r.variant.label == "ldam_drw" and r.seed == 0)
    assert [(r.variant.label, r.split, r.needed_for_ua) for r in chosen.rows] == [
        ("ldam_drw", "longtailed", False),
        ("softmax", "balanced", True),
        ("ldam_drw", "balanced", False),
    ]
    assert {r.seed for r in chosen.rows} == {0}
    longtailed = made.only(lambda r: r.variant.label == "ldam_drw" and r.split == "longtailed")
    assert not any(r.needed_for_ua for r in longtailed.rows)


@pytest.mark.parametrize(
    ("variants", "circle"),
    [
        ([v("A", "crt", init_from="A")], '"A", "A"'),
        ([v("A", "crt", init_from="B"), v("B", "lws", init_from="A")], '"A", "B", "A"'),
        ([v("A", "crt", init_from="B"), v("B", "lws", init_from="B")], '"A", "B", "B"'),
        ([v("softmax", "crt")], '"softmax", "softmax"'),
    ],
)
def test_starts_in_a_circle(variants, circle):
    (problem,) = problems_of(lambda: plan(*variants))
    assert (problem.file, problem.path, problem.code) == ("grid toy", "variants", "cycle")
    assert problem.message.endswith(f": {circle}")


def test_a_method_that_starts_from_itself_or_teaches_itself():
    for changes in ({"init_from": "me"}, {"teachers": (Teacher("me"),)}):
        registry = with_method("me", **changes)
        assert problems(lambda registry=registry: plan("me", registry=registry)) == [
            ("grid toy", "variants", "cycle")
        ]


def test_datasets_that_tables_cannot_tell_apart_are_refused():
    near = [
        DIGITS.model_copy(update={"imbalance_ratio": ratio}) for ratio in (10.00001, 9.99999999)
    ]
    grid = Grid(
        name="toy", title="Toy", datasets=("digits",), recipes=("digits",), variants=("softmax",)
    )
    for datasets in (near, [DIGITS, DIGITS]):
        found = problems(lambda datasets=datasets: expand(grid, datasets, RECIPES, REGISTRY))
        assert found == [("grid toy", "datasets", "duplicate")]


def test_recipes_of_variants_have_the_network_of_the_grid():
    recipes = {"A": ("crt", "deep"), "B": ("lws", "group"), "C": ("ncm", "slow")}
    variants = [v(label, method, recipe=name) for label, (method, name) in recipes.items()]
    assert problems(lambda: plan("softmax", *variants)) == [
        ("grid toy", "variants[1].recipe", "conflict"),
        ("grid toy", "variants[2].recipe", "conflict"),
    ]


def test_recipes_fit_the_images():
    lists = load_dataset("inaturalist2018")
    found = problems_of(lambda: plan("softmax", dataset=lists))
    assert {(p.file, p.path, p.code) for p in found} == {("grid toy", "recipes", "conflict")}
    for name, problem in zip(RECIPES, found, strict=True):
        assert f'"{name}"' in problem.message


def test_crops_are_padded_by_less_than_an_image():
    def padded(pixels, augment="crop"):
        padded = recipe("digits", crop_padding=pixels, augment=augment)
        return plan("softmax", known={"digits": padded})

    assert padded(DIGITS.image_size - 1).rows
    assert padded(DIGITS.image_size, "none").rows
    found = problems(lambda: padded(DIGITS.image_size))
    assert found == [("grid toy", "recipes", "conflict")]


def test_official_lists_have_a_balanced_counterpart_if_drawn_from_more_images():
    resized = {
        name: Recipe(
            **json.loads(r.model_dump_json())
            | {"augment": "resized_crop", "resize_shorter_side": 256}
        )
        for name, r in RECIPES.items()
    }
    for name, splits in (("places_lt", list(SPLITS)), ("inaturalist2018", ["longtailed"])):
        spec = load_dataset(name)
        made = plan("softmax", splits=SPLITS, dataset=spec, known=resized)
        assert [r.split for r in made.rows] == splits


def test_changes_of_a_variant_are_those_of_its_own_stages():
    changed = {"recipe_overrides": {"stage1.optimizer.lr": 0.5}}
    made = plan(
        "softmax",
        v("LFME", "lfme", **changed),
        v("BS", "balanced_softmax", **changed),
        v("cRT", "crt", recipe_overrides={"stage2.epochs": 3}),
        splits=SPLITS,
    )
    rates = {
        job.label: job.stage_recipe.optimizer.lr
        for job in made.jobs.values()
        if job.split == "longtailed" and job.stage_recipe == job.recipe.stage1
    }
    assert rates.pop("softmax") == BASE.stage1.optimizer.lr
    assert set(rates.values()) == {0.5}  # the student and its teachers
    assert job(made, "cRT").stage_recipe.epochs == 3
    assert row(made, "cRT").init_job == row(made, "softmax").key
    balanced = job(made, "BS", "balanced")
    assert (balanced.method, balanced.stage_recipe.optimizer.lr) == ("softmax", 0.5)


def test_changes_of_stages_that_a_variant_does_not_train_are_refused():
    both = {"stage1.epochs": 3, "stage2.epochs": 3}
    methods = ("softmax", "crt", "mislas", "lfme")
    variants = [v(method, method, recipe_overrides=both) for method in methods]
    assert problems(lambda: plan(*variants)) == [
        ("grid toy", 'variants[0].recipe_overrides["stage2.epochs"]', "no-effect"),
        ("grid toy", 'variants[1].recipe_overrides["stage1.epochs"]', "no-effect"),
        ("grid toy", 'variants[3].recipe_overrides["stage2.epochs"]', "no-effect"),
    ]


def test_a_change_to_the_same_value_is_the_same_job():
    same = {"stage1.optimizer.lr": BASE.stage1.optimizer.lr}
    made = plan("softmax", v("Same", "softmax", recipe_overrides=same))
    assert row(made, "softmax").key == row(made, "Same").key
