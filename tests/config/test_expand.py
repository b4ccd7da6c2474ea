"""Which jobs a grid means, and which of them are one."""

import json

import pytest

from ltbench.config.catalogue import Catalogue, load_catalogue
from ltbench.config.expand import expand
from ltbench.config.load import load_dataset, load_recipe
from ltbench.config.models import Grid, Recipe
from ltbench.core.nouns import Stage, Teacher
from tests.support.errors import problems, problems_of

CATALOGUE = load_catalogue()
DIGITS = load_dataset("digits")
BASE = load_recipe("digits")
SPLITS = ("longtailed", "balanced")


def recipe(name, **changes):
    return Recipe(**json.loads(BASE.model_dump_json()) | changes | {"name": name})


RECIPES = {
    "digits": BASE,
    "slow": recipe("slow", batch=64),
    "deep": recipe("deep", network="resnet20"),
    "group": recipe("group", norm="group"),
}


def plan(*variants, splits=("longtailed",), dataset=DIGITS, catalogue=CATALOGUE, **fields):
    how = {name: fields.pop(name) for name in ("rules", "present", "overrides") if name in fields}
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
    return expand(grid, [dataset], known, catalogue, **how)


def v(label, method, **fields):
    return {"label": label, "method": method, **fields}


def row(plan, label, split="longtailed"):
    (found,) = (r for r in plan.rows if (r.variant.label, r.split) == (label, split))
    return found


def job(plan, label, split="longtailed"):
    return plan.jobs[row(plan, label, split).key]


def with_method(key, **changes):
    """Return the catalogue with one more method, like softmax but for the changes."""
    info = CATALOGUE["softmax"].model_copy(update={"key": key, "title": key.upper(), **changes})
    return Catalogue({**CATALOGUE.methods, key: info})


def test_every_cell_is_a_row():
    made = plan("softmax", "ldam_drw", splits=SPLITS, seeds=(0, 1), recipes=("digits", "slow"))
    assert len(made.rows) == len(made.jobs) == 2 * 2 * 2 * 2
    assert len({row.key for row in made.rows}) == 16


def test_starts_come_before_what_starts_from_them():
    made = plan(v("cRT", "crt"), v("LWS", "lws", start_from="LDAM"), v("LDAM", "ldam_drw"))
    seen = set()
    for key, each in made.jobs.items():
        assert seen.issuperset(each.start)
        seen.add(key)


def test_decoupled_methods_share_their_start():
    made = plan(
        "crt", "lws", "ncm", "tau_norm", v("My softmax", "softmax"), "posthoc_logit_adjustment"
    )
    start = row(made, "My softmax").key
    for label in ("crt", "lws", "ncm", "tau_norm", "posthoc_logit_adjustment"):
        assert job(made, label).start == (start,)
    assert len(made.jobs) == 6


def test_a_start_that_no_variant_asks_for_is_a_job_without_a_row():
    made = plan("crt")
    assert len(made.rows) == 1
    (start,) = job(made, "crt").start
    assert (made.jobs[start].method, made.jobs[start].label) == ("softmax", "Softmax")


def test_a_start_is_meant_by_label_before_method():
    made = plan(v("softmax", "ldam_drw"), v("plain", "softmax"), "crt")
    assert job(made, "crt").start == (row(made, "softmax").key,)


def test_a_method_as_it_is_has_no_settings_of_its_own():
    made = plan(
        v("LDAM, large", "ldam_drw", hyper={"scale": 60.0}),
        v("LDAM, slow", "ldam_drw", recipe="slow"),
        v("LDAM", "ldam_drw"),
        v("cRT", "crt", start_from="ldam_drw"),
    )
    assert job(made, "cRT").start == (row(made, "LDAM").key,)
    made = plan(
        v("CB-cRT", "crt", start_from="class_balanced_sampling"), v("LWS", "lws", start_from="crt")
    )
    assert made.jobs[job(made, "LWS").start[0]].start == job(plan("crt"), "crt").start


def test_a_row_names_its_start_and_what_that_started_from():
    catalogue = with_method("pupil", teachers=(Teacher("ldam_drw"),))
    made = plan(
        "softmax",
        "crt",
        "pupil",
        v("S2", "softmax", start_from="ldam_drw"),
        v("cRT of S2", "crt", start_from="S2"),
        v("LWS of cRT", "lws", start_from="crt"),
        v("LWS of cRT of S2", "lws", start_from="cRT of S2"),
        catalogue=catalogue,
    )
    starts = {r.variant.label: r.start_method for r in made.rows}
    assert starts == {
        "softmax": None,
        "crt": "softmax",
        "pupil": None,  # what it learns from is not what it continues from
        "S2": "ldam_drw",
        "cRT of S2": "ldam_drw+softmax",
        "LWS of cRT": "crt",
        "LWS of cRT of S2": "ldam_drw+softmax+crt",
    }
    assert row(made, "cRT of S2").start == row(made, "S2").key
    assert row(made, "pupil").start is None
    made = plan("softmax", "uno_ic")  # whose start is trained without the images that it needs
    assert (row(made, "uno_ic").start,) == job(made, "uno_ic").start
    assert len(made.jobs) == 3


def test_softmax_that_continues_from_another_is_not_the_reference():
    made = plan(v("S2", "softmax", start_from="ldam_drw"), splits=SPLITS)
    assert [r.variant.label for r in made.rows if r.needed_for_ua] == ["Softmax"]


PRETRAINING = with_method("pre", stages=(Stage("pretrain", tests=False),))


def test_pretraining_is_a_job_of_its_own_without_a_row():
    made = plan(
        v("Pre", "pre", recipe="slow"),
        v("Softmax + Pre", "softmax", start_from="Pre"),
        v("LDAM + Pre", "ldam_drw", start_from="Pre"),
        v("cRT + Pre", "crt", start_from="Softmax + Pre"),
        "softmax",
        catalogue=PRETRAINING,
    )
    assert "Pre" not in {r.variant.label for r in made.rows}
    (pre,) = (key for key, each in made.jobs.items() if each.method == "pre")
    assert made.jobs[pre].recipe.name == "slow"
    assert job(made, "Softmax + Pre").start == job(made, "LDAM + Pre").start == (pre,)
    assert row(made, "cRT + Pre").start_method == "pre+softmax"
    assert len(made.jobs) == 5
    assert "pre" in {
        each.method for each in made.only(lambda r: "cRT" in r.variant.label).jobs.values()
    }


def test_pretraining_that_nothing_starts_from_is_refused():
    unused = ("softmax", v("Pre", "pre"))
    assert problems(lambda: plan(*unused, catalogue=PRETRAINING)) == [
        ("grid toy", "variants[1]", "no-effect")
    ]
    plan("pre", v("S", "softmax", start_from="pre"), catalogue=PRETRAINING)


def test_equal_settings_are_one_job_whatever_the_label():
    made = plan(v("A", "tau_norm"), v("B", "tau_norm", hyper=CATALOGUE["tau_norm"].check_hyper({})))
    assert row(made, "A").key == row(made, "B").key
    assert job(made, "B").label == "A"


def test_stages_are_a_chain_of_jobs():
    stages = (Stage("network"), Stage("classifier", second=True), Stage("means", trains=False))
    made = plan("two", catalogue=with_method("two", stages=stages))
    first, second, third = (made.jobs[key] for key in row(made, "two").jobs)
    assert [first.start, second.start, third.start] == [(), (first.key,), (second.key,)]
    assert [first.stage_recipe, second.stage_recipe] == [BASE.first, BASE.second]
    assert third.stage_recipe is None


def test_teachers_are_trained_under_the_same_recipe_and_come_last():
    teachers = (Teacher("softmax"), Teacher("ldam_drw", {"scale": 10.0}))
    catalogue = with_method("pupil", teachers=teachers, start_from="softmax")
    made = plan(v("pupil", "pupil", recipe="slow"), "softmax", catalogue=catalogue)
    start, softmax, ldam = (made.jobs[key] for key in job(made, "pupil").start)
    assert start.key == row(made, "softmax").key
    assert (softmax.method, softmax.recipe.name) == ("softmax", "slow")
    assert (ldam.hyper["scale"], ldam.recipe.name) == (10.0, "slow")


EXPERTS = (
    Teacher("softmax", subset="many", batch_share=1 / 2),
    Teacher("softmax", subset="few", batch_share=1 / 8),
)


def test_experts_are_trained_on_their_group_in_smaller_batches():
    catalogue = with_method("pupil", teachers=EXPERTS)
    made = plan("pupil", "softmax", catalogue=catalogue, seeds=(0, 1), splits=SPLITS)
    many, few = (made.jobs[key] for key in job(made.only(lambda r: r.seed == 0), "pupil").start)
    assert [(e.method, e.subset, e.recipe.batch) for e in (many, few)] == [
        ("softmax", "many", 16),
        ("softmax", "few", 4),
    ]
    assert (many.label, few.label) == ("Softmax, many-shot expert", "Softmax, few-shot expert")
    assert job(made.only(lambda r: r.seed == 0), "softmax").subset == "all"
    assert len(made.rows) == 2 * 2 * 2
    assert len(made.jobs) == 2 * 2 * 4


def test_experts_are_shared_and_a_tiny_batch_is_one_image():
    more = CATALOGUE["softmax"].model_copy(update={"key": "other", "teachers": EXPERTS})
    both = Catalogue({**with_method("pupil", teachers=EXPERTS).methods, "other": more})
    made = plan("pupil", "other", catalogue=both)
    assert job(made, "pupil").start == job(made, "other").start
    assert len(made.jobs) == 4
    one = (Teacher("softmax", subset="few", batch_share=1e-3),)
    made = plan("pupil", catalogue=with_method("pupil", teachers=one))
    assert made.jobs[job(made, "pupil").start[0]].recipe.batch == 1


def test_an_empty_group_has_no_expert():
    catalogue = with_method("pupil", teachers=EXPERTS)
    made = plan("pupil", catalogue=catalogue, present=lambda _: ("many", "medium"))
    assert [made.jobs[key].subset for key in job(made, "pupil").start] == ["many"]
    made = plan("pupil", catalogue=catalogue, present=lambda _: ())
    assert job(made, "pupil").start == ()


def test_with_equal_counts_a_method_that_is_softmax_takes_its_run():
    made = plan("softmax", "balanced_softmax", "logit_adjustment", "ldam_drw", splits=SPLITS)
    twin = row(made, "softmax", "balanced").key
    assert row(made, "balanced_softmax", "balanced").key == twin
    assert row(made, "logit_adjustment", "balanced").key == twin
    assert row(made, "ldam_drw", "balanced").key != twin
    assert row(made, "balanced_softmax").key != row(made, "softmax").key


def test_with_equal_counts_an_adjustment_takes_the_run_of_its_start():
    made = plan(
        v("PH", "posthoc_logit_adjustment"),
        v("CB-PH", "posthoc_logit_adjustment", start_from="CB"),
        v("CB", "class_balanced_sampling"),
        "softmax",
        splits=SPLITS,
    )
    assert row(made, "PH", "balanced").key == row(made, "softmax", "balanced").key
    assert row(made, "CB-PH", "balanced").key == row(made, "CB", "balanced").key


def test_the_run_that_is_taken_has_the_same_recipe_and_start():
    made = plan(
        v("slow", "balanced_softmax", recipe="slow"),
        v("continued", "balanced_softmax", start_from="LDAM"),
        v("LDAM", "ldam_drw"),
        splits=SPLITS,
    )
    slow, continued = job(made, "slow", "balanced"), job(made, "continued", "balanced")
    assert (slow.method, slow.recipe.name, slow.start) == ("softmax", "slow", ())
    assert (continued.method, continued.start) == ("softmax", (row(made, "LDAM", "balanced").key,))


def test_the_balanced_split_brings_softmax_with_it():
    made = plan("ldam_drw", v("Slow softmax", "softmax", recipe="slow"), splits=SPLITS)
    added = [r for r in made.rows if r.needed_for_ua]
    assert [(r.variant.method, r.variant.recipe, r.split) for r in added] == [
        ("softmax", None, "balanced")
    ]
    assert not any(r.needed_for_ua for r in plan("softmax", "ldam_drw", splits=SPLITS).rows)
    assert not any(r.needed_for_ua for r in plan("ldam_drw").rows)


def test_a_dataset_as_it_is_has_no_twin():
    natural = DIGITS.model_copy(update={"profile": "natural", "ratio": None})
    made = plan("ldam_drw", splits=SPLITS, dataset=natural)
    assert [r.split for r in made.rows] == ["longtailed"]


def test_hyper_parameters_of_a_variant_win_over_rules():
    asked = []

    def rules(method, dataset):
        asked.append((method, dataset.id))
        return {"scale": 10.0, "max_margin": 0.3} if method == "ldam_drw" else {}

    made = plan("softmax", "ldam_drw", v("own", "ldam_drw", hyper={"scale": 20.0}), rules=rules)
    assert (job(made, "ldam_drw").hyper["scale"], job(made, "own").hyper["scale"]) == (10.0, 20.0)
    assert job(made, "own").hyper["max_margin"] == 0.3
    assert set(asked) == {("softmax", "digits_r20"), ("ldam_drw", "digits_r20")}


def test_overrides_are_noted_and_change_no_key():
    made, noted = plan("softmax"), plan("softmax", overrides=("recipe.batch=32",))
    assert made.jobs.keys() == noted.jobs.keys()
    assert job(noted, "softmax").ad_hoc
    assert not job(made, "softmax").ad_hoc


def test_only_keeps_the_jobs_that_are_needed():
    made = plan("softmax", "crt", "ldam_drw", seeds=(0, 1))
    chosen = made.only(lambda r: r.variant.label == "crt" and r.seed == 1)
    assert [(r.variant.label, r.seed) for r in chosen.rows] == [("crt", 1)]
    assert [(j.method, j.seed) for j in chosen.jobs.values()] == [("softmax", 1), ("crt", 1)]


def test_only_brings_softmax_on_the_twins_of_balanced_rows():
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
        ([v("A", "crt", start_from="A")], '"A", "A"'),
        ([v("A", "crt", start_from="B"), v("B", "lws", start_from="A")], '"A", "B", "A"'),
        ([v("A", "crt", start_from="B"), v("B", "lws", start_from="B")], '"A", "B", "B"'),
        ([v("softmax", "crt")], '"softmax", "softmax"'),
    ],
)
def test_starts_in_a_circle(variants, circle):
    (problem,) = problems_of(lambda: plan(*variants))
    assert (problem.file, problem.path, problem.code) == ("grid toy", "variants", "cycle")
    assert problem.message.endswith(f": {circle}")


def test_a_method_that_starts_from_itself_or_teaches_itself():
    for changes in ({"start_from": "me"}, {"teachers": (Teacher("me"),)}):
        catalogue = with_method("me", **changes)
        assert problems(lambda catalogue=catalogue: plan("me", catalogue=catalogue)) == [
            ("grid toy", "variants", "cycle")
        ]


def test_datasets_that_tables_cannot_tell_apart_are_refused():
    near = [DIGITS.model_copy(update={"ratio": ratio}) for ratio in (10.00001, 9.99999999)]
    grid = Grid(
        name="toy", title="Toy", datasets=("digits",), recipes=("digits",), variants=("softmax",)
    )
    for datasets in (near, [DIGITS, DIGITS]):
        found = problems(lambda datasets=datasets: expand(grid, datasets, RECIPES, CATALOGUE))
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


def test_lists_have_a_twin_where_there_is_more_to_draw_from():
    resized = {
        name: Recipe(
            **json.loads(r.model_dump_json()) | {"augment": "resized_crop", "short_side": 256}
        )
        for name, r in RECIPES.items()
    }
    for name, splits in (("places_lt", list(SPLITS)), ("inaturalist2018", ["longtailed"])):
        spec = load_dataset(name)
        made = plan("softmax", splits=SPLITS, dataset=spec, known=resized)
        assert [r.split for r in made.rows] == splits
