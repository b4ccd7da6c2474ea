import pytest

from ltbench.analysis.result_set import ad_hoc_records, boards
from ltbench.config.planning import Plan
from ltbench.config.registry import load_registry
from ltbench.core.label_shift import SHIFTS
from ltbench.core.types import Stage
from ltbench.report.board_tables import (
    BY_GROUP_TABLE,
    CLASSES_TABLE,
    DECOUPLING_TABLE,
    MAIN_TABLE,
    MORE_TABLE,
    SHIFTED_TABLE,
)
from ltbench.report.summary_tables import AD_HOC_TABLE, RECORDS_TABLE
from ltbench.report.table import value_text
from ltbench.runs.record import ShiftedTest, ShiftedTests
from tests.support.made_records import with_confusion
from tests.support.tables import column, made, said

HITS = (45, 40, 30, 20, 5, 1)
SOFTMAX = {"label": "Softmax", "method": "softmax"}
PLUGIN = {"label": "Mine", "method": "mine"}


def fill(toy, plan, hits=HITS, skip=(), **changes):
    """Return records with the same hits for all jobs, except those of `skip`."""
    chosen = [
        job for job in plan.jobs.values() if (job.label, job.split, job.seed) not in set(skip)
    ]
    return toy.stored(*(toy.record(job, hits, **changes) for job in chosen))


def test_one_seed_has_no_bar_and_no_interval(toy):
    plan = toy.plan([SOFTMAX, PLUGIN], seeds=(3,))
    [board] = boards(plan, fill(toy, plan))
    value = board.entries[0].values["acc"]
    assert (value.mean, value.std, value.n, value.state) == (47.0, None, 1, "complete")
    assert board.entries[0].values["ra"].mean == 100.0
    assert board.entries[0].values["ra"].interval is None
    assert "n = 1 seed." in made(MAIN_TABLE, board, toy.methods).caption


def test_ua_needs_both_balanced_runs_of_a_seed(toy):
    plan = toy.plan([SOFTMAX, PLUGIN])
    skip = [("Softmax", "balanced", 0), ("Mine", "balanced", 1)]
    [board] = boards(plan, fill(toy, plan, skip=skip))
    softmax, mine = (entry.values["ra"] for entry in board.entries)
    assert (softmax.state, softmax.n, softmax.planned) == ("partial", 1, 2)
    assert mine.state == "not available"
    assert mine.mean is None
    assert mine.reason == "Missing for UA and RA: a seed with all three runs."


def test_a_v_is_softmax_under_the_recipe_of_the_grid(toy):
    """Softmax is not in the grid: the planner adds it for UA, and no table shows it."""
    plan = toy.plan([PLUGIN], seeds=(0,))
    records = {}
    for label, split, hits in (
        ("Mine", "longtailed", (30,) * 6),
        ("Mine", "balanced", (35,) * 6),
        ("Softmax", "balanced", (40,) * 6),
    ):
        job = plan.jobs[toy.key_of(plan, label, 0, split)]
        records |= toy.stored(toy.record(job, hits))
    [board] = boards(plan, records)
    assert [entry.variant.label for entry in board.entries] == ["Mine"]
    assert board.entries[0].values["ua"].mean == pytest.approx(80.0)
    assert board.entries[0].values["ra"].mean == pytest.approx(75.0)


def test_the_deviation_of_ua_is_in_points(toy):
    plan = toy.plan([SOFTMAX])
    hits = {("longtailed", 0): 20, ("longtailed", 1): 20, ("balanced", 0): 40, ("balanced", 1): 42}
    records = toy.stored(
        *(toy.record(job, (hits[job.split, job.seed],) * 6) for job in plan.jobs.values())
    )
    [board] = boards(plan, records)
    upper = board.entries[0].values["ua"]
    assert (upper.mean, upper.std) == pytest.approx((82.0, 4 / 2**0.5))


def test_softmax_of_another_recipe_is_not_a_v(toy):
    other = {"label": "Long softmax", "method": "softmax", "recipe": "long"}
    plan = toy.plan([other], seeds=(0,))
    planned = ("Softmax", "balanced", 0)  # by the planner, for UA
    [board] = boards(plan, fill(toy, plan, skip=[planned]))
    assert board.entries[0].values["ua"].state == "not available"


def test_without_a_balanced_counterpart_ua_is_not_available_with_a_note(toy):
    plan = toy.plan([SOFTMAX], splits=("longtailed",))
    [board] = boards(plan, fill(toy, plan))
    table = made(MAIN_TABLE, board, toy.methods)
    assert not {"UA", "RA"} & set(table.titles)
    reason = board.entries[0].values["ra"].reason
    assert reason == "UA needs runs on the balanced split, which this grid does not have here."


def test_zero_ua_has_no_ra(toy):
    plan = toy.plan([SOFTMAX])
    [board] = boards(plan, fill(toy, plan, hits=(0,) * 6))
    assert board.entries[0].values["ra"].reason.startswith("UA is zero")


def test_empty_group_is_not_zero(toy):
    plan = toy.plan([SOFTMAX])
    [board] = boards(plan, fill(toy, plan, counts=(500, 400, 300, 200, 150, 101)))
    table = made(BY_GROUP_TABLE, board)
    assert column(table, "Many")[0].value.mean == 47.0
    assert table.titles == ("Method", "Acc", "Many")
    for group in ("medium", "few"):
        value = board.entries[0].values[group]
        assert (value.state, value.mean) == ("empty", None)


def test_a_seed_without_a_metric_hides_no_other_seed(toy):
    plan = toy.plan([SOFTMAX], seeds=(0, 1))
    records = fill(toy, plan)
    key = next(key for key, job in plan.jobs.items() if job.seed == 1)
    records |= toy.stored(toy.record(plan.jobs[key], HITS, test=None))
    [board] = boards(plan, records)
    value = board.entries[0].values["acc"]
    assert (value.mean, value.n, value.planned, value.state) == (47.0, 1, 2, "partial")
    assert key not in value.keys


def test_shot_groups_follow_the_rule_in_the_caption(toy):
    plan = toy.plan([SOFTMAX], dataset=toy.dataset(shot_rule="rank_thirds"))
    [board] = boards(plan, fill(toy, plan, counts=(500, 400, 300, 200, 150, 101)))
    table = made(BY_GROUP_TABLE, board)
    assert "thirds of the classes" in table.caption
    means = [column(table, name)[0].value.mean for name in ("Many", "Medium", "Few")]
    assert means == pytest.approx([85, 50, 6])


def test_shot_groups_come_from_long_tailed_counts(toy):
    plan = toy.plan([SOFTMAX], seeds=(0,))
    job = plan.jobs[toy.key_of(plan, "Softmax")]
    record = toy.record(job, HITS)
    trained_on = record.split.model_copy(update={"train_counts": (75,) * 6})
    [board] = boards(plan, toy.stored(record.model_copy(update={"split": trained_on})))
    values = board.entries[0].values
    assert [values[g].mean for g in ("many", "medium", "few")] == pytest.approx([85, 50, 6])


def test_uneven_test_set_shows_balanced_accuracy(toy):
    plan = toy.plan([SOFTMAX, PLUGIN], seeds=(0,))
    records = fill(toy, plan, totals=(100, 50, 50, 50, 50, 10), hits=(90, 40, 30, 20, 5, 1))
    [board] = boards(plan, records)
    table = made(MAIN_TABLE, board, toy.methods)
    assert column(table, "Acc")[0].value.mean == pytest.approx(100 * 186 / 310)
    balanced = (0.9 + 0.8 + 0.6 + 0.4 + 0.1 + 0.1) / 6
    assert column(table, "Balanced acc")[0].value.mean == pytest.approx(100 * balanced)
    even = made(MAIN_TABLE, boards(plan, fill(toy, plan))[0], toy.methods)
    assert "Balanced acc" not in even.titles


def uneven(toy, classes=6):
    """Return a board of two variants on an uneven test set, and its records."""

    def padded(*values):
        return (*values, *[0] * (classes - 6))

    plan = toy.plan([SOFTMAX, PLUGIN], seeds=(0,), dataset=toy.dataset(classes=classes))
    records = fill(
        toy,
        plan,
        hits=padded(90, 40, 30, 20, 5, 0),
        totals=padded(100, 50, 50, 50, 50, 0),
        counts=padded(200, 150, 60, 30, 10, 5),
    )
    record = records[toy.key_of(plan, "Mine")].record
    test = record.test.model_copy(update={"predicted": padded(120, 60, 40, 30, 40, 10)})
    records |= toy.stored(record.model_copy(update={"test": test}))
    [board] = boards(plan, records)
    return board, records


def test_macro_f1_of_an_uneven_test_set_is_over_tested_classes(toy):
    board, _ = uneven(toy)
    _, mine = column(made(MORE_TABLE, board, toy.methods), "Macro F1")
    pairs = ((90, 220), (40, 110), (30, 90), (20, 80), (5, 90))
    assert mine.value.mean == pytest.approx(100 * sum(2 * h / n for h, n in pairs) / 5)


def test_each_class_has_a_row(toy):
    """Uneven tests have their sizes; there is no table without records, or of many classes."""
    board, records = uneven(toy)
    table = made(CLASSES_TABLE, board, {}, records)
    assert table.titles == ("Class", "Group", "Training images", "Test images", "Softmax", "Mine")
    assert said(table, table.rows[0])[:4] == ["0", "many", "200", "100"]
    assert [row[4].value.mean for row in table.rows[:5]] == pytest.approx([90, 80, 60, 40, 10])
    assert table.rows[5][4].value.state == "empty"
    plan = toy.plan([SOFTMAX], seeds=(0,))
    names = ("ant", "bee", "cow", "dog", "eel", "fox")
    found = [with_confusion(toy.record(job, HITS), names) for job in plan.jobs.values()]
    even = toy.stored(*found)
    table = made(CLASSES_TABLE, boards(plan, even)[0], {}, even)
    assert table.titles == ("Class", "Group", "Training images", "Softmax")
    assert said(table, table.rows[5]) == ["fox", "few", "5", "2.0"]
    assert made(CLASSES_TABLE, boards(plan, {})[0]) is None
    many, records = uneven(toy, classes=201)
    assert made(CLASSES_TABLE, many, {}, records) is None


def test_classes_have_the_accuracies_of_softmax_and_the_best(toy):
    variants = [{"label": f"M{i}", "method": "m", "hparams": {"i": i}} for i in range(8)]
    plan = toy.plan([*variants, SOFTMAX], seeds=(0,), splits=("longtailed",))
    rights = dict.fromkeys(["Softmax"], 1) | {f"M{i}": 20 + i for i in range(8)}
    found = [toy.record(job, (rights[job.label],) * 6) for job in plan.jobs.values()]
    records = toy.stored(*found)
    table = made(CLASSES_TABLE, boards(plan, records)[0], {}, records)
    assert table.titles[3:] == ("M7", "M6", "M5", "M4", "M3", "Softmax")


def test_boards_are_never_mixed(toy):
    one, two = (toy.plan([SOFTMAX], recipe=toy.recipe(name=name)) for name in ("a", "b"))
    both = type(one)(one.grid, one.rows + two.rows, one.jobs | two.jobs)
    assert [board.id for board in boards(both, {})] == ["toy_r40, a", "toy_r40, b"]


def test_states_without_a_record(toy):
    plan = toy.plan([SOFTMAX, PLUGIN, {"label": "Other", "method": "other"}])
    old = toy.plan([SOFTMAX], versions={"softmax": 2})
    failed = {toy.key_of(plan, "Mine", 1)}
    [board] = boards(plan, fill(toy, old), failed)
    values = [entry.values["acc"] for entry in board.entries]
    assert [value.state for value in values] == ["stale", "failed", "missing"]
    assert all(value.mean is None for value in values)
    assert not any(cell.rank for row in made(MAIN_TABLE, board, toy.methods).rows for cell in row)


def test_ad_hoc_and_foreign_records_change_no_table(toy):
    plan = toy.plan([SOFTMAX])
    changed = toy.recipe(batch_size=64)
    ad_hoc = toy.plan([SOFTMAX], recipe=changed, overrides=("recipe.batch_size=64",))
    [board] = boards(plan, fill(toy, ad_hoc))
    assert board.entries[0].values["acc"].state == "missing"  # not even stale


def test_ad_hoc_table_is_unranked_and_of_its_grid(toy):
    plan = toy.plan([SOFTMAX], seeds=(0,), splits=("longtailed",))
    ad_hoc = toy.plan(
        [SOFTMAX],
        recipe=toy.recipe(batch_size=64),
        overrides=("recipe.batch_size=64",),
        seeds=(0, 1),
    )
    mine = fill(toy, ad_hoc)
    other = fill(toy, ad_hoc, grid="other")
    table = AD_HOC_TABLE.build(ad_hoc_records(plan, mine))
    assert table.titles == ("Method", "Split", "Seed", "Acc")
    assert "dataset toy_r40; recipe short; settings recipe.batch_size=64." in table.caption
    assert not any(cell.rank for cell in column(table, "Acc"))
    assert AD_HOC_TABLE.build(ad_hoc_records(plan, other)) is None
    planned = toy.plan([SOFTMAX], recipe=toy.recipe(batch_size=64))
    assert ad_hoc_records(planned, mine) == []  # the grid has come to ask for just this


def test_ties_are_both_best_and_then_there_is_no_second(toy):
    plan = toy.plan([SOFTMAX, PLUGIN, {"label": "Third", "method": "third"}], seeds=(0,))
    records = {}
    for label, first in (("Softmax", 40), ("Mine", 40), ("Third", 30)):
        job = plan.jobs[toy.key_of(plan, label)]
        records |= toy.stored(toy.record(job, (first, 40, 30, 20, 5, 1)))
    table = made(MAIN_TABLE, boards(plan, records)[0], toy.methods)
    assert [cell.rank for cell in column(table, "Acc")] == [1, 1, 0]


def test_numbers_that_print_alike_tie(toy):
    plan = toy.plan([SOFTMAX, PLUGIN, {"label": "Third", "method": "third"}], seeds=(0,))
    records = {}
    for label, first in (("Softmax", 472), ("Mine", 470), ("Third", 450)):  # of 6,000 images
        job = plan.jobs[toy.key_of(plan, label)]
        hits = (first, *[470] * 5)
        records |= toy.stored(toy.record(job, hits, totals=(1000,) * 6))
    table = made(MAIN_TABLE, boards(plan, records)[0], toy.methods)
    assert [value_text(cell.value) for cell in column(table, "Acc")] == ["47.0", "47.0", "46.7"]
    assert [cell.rank for cell in column(table, "Acc")] == [1, 1, 0]


def test_a_seed_that_ran_after_a_failure_has_not_failed(toy):
    plan = toy.plan([SOFTMAX])
    failed = {toy.key_of(plan, "Softmax", 0)}
    records = fill(toy, plan, skip=[("Softmax", "longtailed", 1)])
    [board] = boards(plan, records, failed)
    for name in ("acc", "ua", "ra"):
        value = board.entries[0].values[name]
        assert (value.state, value.n, value.failed) == ("partial", 1, 0)


def test_incomplete_values_are_not_ranked(toy):
    variants = [SOFTMAX, PLUGIN, {"label": "Third", "method": "third"}]
    plan = toy.plan(variants)
    records = fill(toy, plan, skip=[("Softmax", "longtailed", 1)])
    job = plan.jobs[toy.key_of(plan, "Softmax")]
    records |= toy.stored(toy.record(job, (50,) * 6))
    job = plan.jobs[toy.key_of(plan, "Third")]
    records |= toy.stored(toy.record(job, (40, 40, 30, 20, 5, 1)))
    table = made(MAIN_TABLE, boards(plan, records)[0], toy.methods)
    assert [cell.rank for cell in column(table, "Acc")] == [0, 1, 2]


def test_decoupling_has_a_row_for_each_stage1_network(toy):
    """A stage-1 network that is not a variant of the grid still has its joint accuracy."""
    plan = toy.plan(
        [
            {"label": "cRT", "method": "crt"},
            {"label": "tau 1", "method": "tau_norm"},
            {"label": "tau 2", "method": "tau_norm", "hparams": {"tau": 2}},
        ]
    )
    [board] = boards(plan, fill(toy, plan))
    table = made(DECOUPLING_TABLE, board, toy.methods)
    assert table.titles == ("Stage 1", "Classes", "Joint", "cRT", "tau-norm", "tau-norm (tau 2)")
    assert [row[0].text for row in table.rows] == ["Softmax"] * 4
    assert [cell.value.mean for cell in column(table, "Joint")] == pytest.approx([47, 85, 50, 6])
    assert made(DECOUPLING_TABLE, boards(toy.plan([SOFTMAX]), {})[0], toy.methods) is None


def test_decoupled_classifiers_are_those_of_the_registry(toy):
    """A plugin's classifier stage is one; fine-tuning another network is not."""
    plan = toy.plan(
        [
            SOFTMAX,
            {"label": "Mine", "method": "own_classifier", "init_from": "Softmax"},
            {"label": "Tuned", "method": "focal", "init_from": "Softmax"},
        ]
    )
    [board] = boards(plan, fill(toy, plan))
    assert made(DECOUPLING_TABLE, board, toy.methods) is None
    own = toy.methods["crt"].model_copy(update={"key": "own_classifier", "title": "Own"})
    table = made(DECOUPLING_TABLE, board, {**toy.methods, "own_classifier": own})
    assert table.titles[2:] == ("Joint", "Own")


def test_every_method_that_replaces_a_classifier_is_known():
    replacing = [key for key, info in load_registry().methods.items() if info.replaces_classifier]
    assert set(replacing) == {
        *("crt", "lws", "ncm", "disalign", "tau_norm", "tau_norm_validated", "tau_norm_learned")
    }


def test_pretraining_has_no_accuracy_anywhere(toy):
    """A classifier trained on it has one; pre-training has no joint classifier."""
    pre = toy.method("pre", "Pre", "baseline", stage=Stage("train", is_evaluated=False))
    plan = toy.plan(
        [{"label": "Pre", "method": "pre"}, {"label": "cRT", "method": "crt", "init_from": "Pre"}],
        splits=("longtailed",),
        methods={"pre": pre},
    )
    records = {}
    for job in plan.jobs.values():
        changes = {"test": None} if job.method == "pre" else {}
        records |= toy.stored(toy.record(job, HITS, **changes))
    [board] = boards(plan, records)
    assert [entry.variant.label for entry in board.entries] == ["cRT"]
    assert made(DECOUPLING_TABLE, board, toy.methods).titles == ("Stage 1", "Classes", "cRT")
    joint = board.stage1_results[0].joint.values()
    assert {(value.state, value.mean) for value in joint} == {("empty", None)}
    assert not board.uneven_test
    assert len(made(RECORDS_TABLE, board, {}, records).rows) == 4


def test_a_variant_without_a_test_has_no_number(toy):
    plan = toy.plan([SOFTMAX, PLUGIN], seeds=(0,))
    records = fill(toy, plan)
    key = toy.key_of(plan, "Mine")
    records |= toy.stored(toy.record(plan.jobs[key], HITS, test=None))
    [board] = boards(plan, records)
    mine = board.entries[1].values
    assert (mine["acc"].state, mine["many"].state) == ("empty", "empty")
    assert mine["ra"].reason == "Missing for UA and RA: its long-tailed run."
    assert [cell.value.state for cell in made(SHIFTED_TABLE, board, {}, records).rows[1][2:]] == [
        "empty"
    ] * 11


def test_teachers_and_pretraining_are_not_among_ad_hoc_records(toy):
    plan = toy.plan([SOFTMAX], seeds=(0,), splits=("longtailed",))
    changed = toy.plan(
        [SOFTMAX],
        seeds=(0, 1, 2),
        overrides=("recipe.batch_size=64",),
        splits=("longtailed",),
        recipe=toy.recipe(batch_size=64),
    )
    whole, expert, untested = changed.jobs.values()
    expert = type(expert)(**expert.model_dump() | {"subset": "few"})
    records = toy.stored(
        toy.record(whole, HITS), toy.record(expert, HITS), toy.record(untested, HITS, test=None)
    )
    assert [record.key for record in ad_hoc_records(plan, records)] == [whole.key]


def test_every_number_leads_to_its_records(toy):
    variants = [SOFTMAX, {"label": "cRT", "method": "crt", "init_from": "Softmax"}]
    plan = toy.plan(variants, seeds=(0,))
    records = fill(toy, plan)
    table = made(RECORDS_TABLE, boards(plan, records)[0], {}, records)
    of_crt = {cell.text for row in table.rows for cell in row[-1:] if row[0].text == "cRT"}
    assert of_crt == {stored.name for stored in records.values()}


def test_remarks(toy):
    variants = [
        SOFTMAX,
        {"label": "BS", "method": "balanced_softmax"},
        {"label": "Long", "method": "mine", "recipe": "long"},
    ]
    plan = toy.plan(variants)
    [board] = boards(plan, fill(toy, plan))
    assert [len(entry.remarks) for entry in board.entries] == [0, 1, 1]
    assert "balanced run of Softmax" in board.entries[1].remarks[0]
    assert "recipe long" in board.entries[2].remarks[0]


@pytest.mark.parametrize(
    ("auxiliary", "words"),
    [
        ({"source": "train_holdout", "per_class": 5}, "Uses train_holdout(5): training images"),
        ({"source": "unused_pool", "per_class": 2}, "Uses unused_pool(2): images of each"),
        ({"source": "official_val"}, "Uses official_val: the dataset's own"),
    ],
)
def test_held_out_images_are_a_footnote_of_the_variants_that_use_them(toy, auxiliary, words):
    plan = toy.plan([SOFTMAX, PLUGIN], seeds=(0,))
    key = toy.key_of(plan, "Mine")
    apart = toy.dataset(source="image_folder", val_folder="val", auxiliary=auxiliary)
    changed = plan.jobs[key].model_copy(update={"dataset": apart})
    plan = Plan(plan.grid, plan.rows, plan.jobs | {key: changed})
    table = made(MAIN_TABLE, boards(plan, {})[0], toy.methods)
    softmax, mine = column(table, "Method")
    assert softmax.notes == ()
    (note,) = mine.notes
    assert note.startswith(words)


@pytest.mark.parametrize(
    ("bad", "words"),
    [
        ({"on_bad": "skip", "train": 3}, "3 images skipped"),
        ({"on_bad": "skip", "train": 1}, "1 image skipped"),
        ({"on_bad": "report", "train": 1, "test": 2}, "3 images shown black (2 of the test)"),
    ],
)
def test_bad_images_are_a_footnote_of_the_variants_without_them(toy, bad, words):
    plan = toy.plan([SOFTMAX, PLUGIN], seeds=(0,))
    bad = {"hash": "0" * 64} | bad
    missing = toy.dataset(source="image_folder", sizes="any", bad_images=bad)
    jobs = {k: j.model_copy(update={"dataset": missing}) for k, j in plan.jobs.items()}
    table = made(MAIN_TABLE, boards(Plan(plan.grid, plan.rows, jobs), {})[0], toy.methods)
    for cell in column(table, "Method"):
        assert any(note.startswith(words) for note in cell.notes)


def shifted(test_time, hits):
    """Return tests of 10 images in the first and 2 in each other class, equal under all shifts."""
    facts = {"totals": (10, 2, 2, 2, 2, 2), "index_hash": "e" * 64}
    tests = (ShiftedTest(direction=s.direction, ratio=s.ratio, hits=hits, **facts) for s in SHIFTS)
    return ShiftedTests(test_time=test_time, tests=tuple(tests))


def test_transductive_results_have_a_row_of_their_own(toy):
    plan = toy.plan([SOFTMAX, PLUGIN], splits=("longtailed",))
    records = fill(toy, plan)
    for seed, hits in enumerate([(9, 2, 2, 2, 1, 1), (10, 2, 2, 2, 1, 1)]):
        job = plan.jobs[toy.key_of(plan, "Mine", seed)]
        record = toy.record(job, HITS, shifted=shifted("transductive", hits))
        records |= toy.stored(record)
    [board] = boards(plan, records)
    table = made(SHIFTED_TABLE, board, {}, records)
    assert table.names == 2
    assert [(row[0].text, row[1].text) for row in table.rows] == [
        ("Softmax", "nothing"),
        ("Mine", "nothing"),
        ("Mine", "unlabeled images"),
    ]
    softmax, fixed, adapted = column(table, "Forward 50")
    assert fixed.value.mean == softmax.value.mean
    assert softmax.rank == fixed.rank == 1
    assert adapted.value.mean == pytest.approx(100 * 17.5 / 20)
    assert adapted.value.n == 2
    assert adapted.rank == 0


def test_seeds_without_shifted_tests_are_missing(toy):
    plan = toy.plan([PLUGIN], splits=("longtailed",))
    records = fill(toy, plan)
    key = toy.key_of(plan, "Mine", 1)
    tests = shifted("known_test_prior", (5, 1, 1, 1, 1, 1))
    records |= toy.stored(toy.record(plan.jobs[key], HITS, shifted=tests))
    [board] = boards(plan, records)
    _, told = made(SHIFTED_TABLE, board, {}, records).rows
    assert told[1].text == "class frequencies"
    value = told[2].value
    assert (value.mean, value.std, value.n, value.planned) == (50.0, None, 1, 2)
    assert value.state == "partial"
    assert value.keys == (key,)
