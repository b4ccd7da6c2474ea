import re
from dataclasses import replace
from functools import partial
from pathlib import Path

import pytest

from ltbench.config.load import load_dataset, load_grid
from ltbench.config.registry import MethodInfo
from ltbench.data.cache_building import build_cache
from ltbench.data.errors import DataError
from ltbench.data.sources import load_raw_dataset
from ltbench.launch import plan as module
from ltbench.launch.plan import Request, make_plan, read_grid
from tests.support.errors import problems, problems_of, raises
from tests.support.own_images import rows, write_own

RUNS = len(load_grid("cifar100_lt").variants) * 3 * 2 * 3  # ratios, splits, seeds


def test_all_problems_are_named_together():
    request = Request("quickstrat", sets=("recip.batch=1",), only=("seeds=1",))
    assert problems(lambda: read_grid(request)) == [
        ("--set", "", "unknown-key"),
        ("--only", "", "unknown-key"),
        ("configs/grids", "", "unknown-grid"),
    ]
    sets = ("recipe.batch_size=2", "recipe.batch_size=4", "recip.batch=1")
    assert problems(lambda: read_grid(Request("quickstart", sets=sets))) == [
        ("--set", "", "unknown-key"),
        ("--set", "recipe.batch_size", "duplicate"),
    ]
    sets = ("recip.batch=1", "recipe.batch_size=many", "hparams.NCMM.features=un")
    assert problems(lambda: read_grid(Request("quickstart", sets=sets))) == [
        ("--set", "", "unknown-key"),
        ("--set", "recipe.batch_size", "wrong-type"),
        ("--set", "hparams.NCMM.features", "unknown-variant"),
    ]


@pytest.mark.parametrize(
    ("wrong", "place"),
    [
        ("hparams.LDAM-DRW.scal=1", "hparams.LDAM-DRW.scal"),
        ("recipe.batch_size=many", "recipe.batch_size"),
        ("recip.batch=1", ""),
    ],
)
def test_wrong_overrides_hide_no_unknown_value_of_a_filter(wrong, place):
    right = ("grid.seeds=[5]", "dataset.imbalance_ratio=10")
    only = ("variant=LDAM-DRWW", "seed=5,6", "dataset=digits_r10,digit", "split=balanced")
    found = problems_of(lambda: read_grid(Request("quickstart", (*right, wrong), only)))
    assert [(p.file, p.path) for p in found] == [
        ("--set", place),
        ("--only", "variant"),
        ("--only", "dataset"),
        ("--only", "seed"),
    ]
    named = [re.findall('"(.*?)"', problem.message) for problem in found[1:]]
    assert named == [["LDAM-DRWW"], ["digit"], ["6"]]


def test_a_filter_may_name_what_ua_needs(tmp_path):
    (tmp_path / "grid.yaml").write_text(BALANCED)
    plan, _ = make_plan(Request(str(tmp_path / "grid.yaml"), only=("variant=Softmax",)))
    assert [row.variant.label for row in plan.rows] == ["Softmax"]


BALANCED = """\
title: Without softmax
datasets: [digits]
recipes: [digits]
splits: [longtailed, balanced]
variants: [balanced_softmax]
"""


def test_a_plugin_that_cannot_be_used_hides_no_other_problem(tmp_path):
    (tmp_path / "broken.py").write_text("import nothing_at_all")
    request = Request("quickstrat", sets=("recip.batch=1",), only=("seeds=1",))
    for name, line, code in (("missing.py", "", "missing-file"), ("broken.py", ":1", "plugin")):
        path = tmp_path / name
        assert problems(lambda path=path: read_grid(replace(request, plugins=(path,)))) == [
            ("--set", "", "unknown-key"),
            ("--only", "", "unknown-key"),
            (f"{path}{line}", "", code),
            ("configs/grids", "", "unknown-grid"),
        ]


def test_a_huge_grid_is_refused_before_planning(monkeypatch):
    monkeypatch.setattr(module, "expand_datasets", None)
    (problem,) = problems_of(lambda: make_plan(Request("cifar100_lt"), max_runs=RUNS - 1))
    assert (problem.file, problem.code) == ("grid cifar100_lt", "needs-confirmation")
    assert f"{RUNS:,} runs" in problem.message
    assert "--yes" in problem.message


def test_a_grid_at_the_limit_is_planned():
    plan, _ = make_plan(Request("cifar100_lt"), max_runs=RUNS)
    assert len(plan.rows) == RUNS


def test_hyper_parameters_are_resolved_once_a_variant_and_dataset(monkeypatch):
    checked = []
    check = MethodInfo.validate_hparams

    def counted(info, values, location):
        checked.append((info.key, location.path))
        return check(info, values, location)

    monkeypatch.setattr(MethodInfo, "validate_hparams", counted)
    numbers = []
    for seeds in ("[0]", "[0, 1, 2]"):
        make_plan(Request("quickstart", sets=(f"grid.seeds={seeds}",)))
        numbers.append(len(checked))
        checked.clear()
    assert numbers[0] == numbers[1] > 0


def test_overrides_reach_jobs_and_mark_them_ad_hoc():
    plan, _ = make_plan(Request("quickstart", sets=("recipe.stage1.epochs=41", "grid.seeds=[3]")))
    (recipe,) = {job.recipe for job in plan.jobs.values()}
    assert recipe.stage1.epochs == 41
    assert {job.seed for job in plan.jobs.values()} == {3}
    assert all(job.ad_hoc for job in plan.jobs.values())


@pytest.mark.parametrize(
    ("sets", "path", "code", "near"),
    [
        (["recipe.network=resnett32"], "recipe.network", "unknown-value", "resnet32"),
        (["recipe.network=vit_tiny_patch16_224"], "recipe.network", "conflict", None),
        (["recipe.pretrained={tag: a}"], "recipe.pretrained", "conflict", None),
        (["recipe.network=resnet18", "recipe.norm=group"], "recipe.norm", "conflict", None),
        (["dataset.imbalance_ratio=1000"], "dataset.imbalance_ratio", "split", None),
    ],
)
def test_what_no_job_could_do_is_refused(sets, path, code, near):
    (problem,) = problems_of(lambda: make_plan(Request("quickstart", sets=tuple(sets))))
    assert (problem.file, problem.path, problem.code) == ("--set", path, code)
    assert near is None or f'"{near}"' in problem.suggestion


def test_networks_of_timm_are_planned():
    for network in ("resnet18", "convnext_atto.d2_in1k"):
        plan, _ = make_plan(Request("quickstart", sets=(f"recipe.network={network}",)))
        assert {job.recipe.network for job in plan.jobs.values()} == {network}


def test_datasets_without_images_are_planned_without_a_fingerprint(tmp_path):
    pinned = load_dataset("cifar10_jpeg")
    unpinned = pinned.model_copy(update={"fingerprint": None})
    assert module._with_measurements(pinned, (), tmp_path) == pinned
    assert module._with_measurements(unpinned, (), tmp_path) == unpinned


DATASET = """\
title: Own
source: image_list
train_list: own.csv
sizes: any
classes: 3
image_size: 8
normalization: {mean: [0.5, 0.5, 0.5], std: [0.5, 0.5, 0.5]}
imbalance_type: natural
"""
RECIPE = """\
title: Resized
network: resnet8
batch_size: 4
augment: resized_crop_flip
resize_shorter_side: 12
stage1:
  epochs: 1
  optimizer: {lr: 0.1}
  schedule: {kind: constant}
stage2:
  epochs: 1
  optimizer: {lr: 0.1}
  schedule: {kind: constant}
"""
GRID = """\
title: Own
datasets: [own]
recipes: [resized]
variants: [softmax, crt]
"""


@pytest.fixture
def own(tmp_path, monkeypatch):
    """Return dataset and images of a project with one undecodable image."""
    monkeypatch.setenv("LTBENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.chdir(tmp_path)
    write_own(tmp_path / "data" / "own", rows())
    (tmp_path / "data/own/images/ant/train 3.jpg").write_bytes(b"no image")
    for path, text in (
        ("configs/datasets/own.yaml", DATASET),
        ("configs/recipes/resized.yaml", RECIPE),
        (
            "configs/recipes/larger.yaml",
            RECIPE.replace("resize_shorter_side: 12", "resize_shorter_side: 16"),
        ),
        ("own.yaml", GRID),
        ("both.yaml", GRID.replace("[resized]", "[resized, larger]")),
    ):
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    spec = load_dataset("own")
    return spec, load_raw_dataset(spec, tmp_path / "data")


def planned(grid="own.yaml"):
    """Return the keys of a grid's jobs, and their bad images."""
    jobs = make_plan(Request(grid))[0].jobs
    (bad,) = {job.dataset.bad_images for job in jobs.values()}
    return set(jobs), bad


def test_images_skipped_or_blackened_by_a_cache_are_in_the_keys(own):
    whole, none = planned()
    assert none is None
    build_cache(*own, 12, on_bad="skip")
    skipped, left_out = planned()
    assert (left_out.on_bad, left_out.train, left_out.test) == ("skip", 1, 0)
    build_cache(*own, 12, on_bad="report")
    black, shown = planned()
    assert (shown.on_bad, shown.hash) == ("report", left_out.hash)
    assert not whole & skipped
    assert not whole & black
    assert not skipped & black
    build_cache(*own, 12, on_bad="skip")
    assert planned() == (skipped, left_out)


def test_other_skipped_images_change_the_keys(own, tmp_path):
    build_cache(*own, 12, on_bad="skip")
    one = planned()[1]
    (tmp_path / "data/own/images/ant/train 2.jpg").write_bytes(b"no image")
    spec, _ = own
    build_cache(spec, load_raw_dataset(spec, tmp_path / "data"), 12, on_bad="skip")
    two = planned()[1]
    assert (one.train, two.train) == (1, 2)
    assert one.hash != two.hash


def test_the_caches_of_a_grid_skip_the_same_images(own):
    build_cache(*own, 12, on_bad="skip")
    assert planned("both.yaml")[1] == planned()[1]  # without a cache, the job itself skips them
    build_cache(*own, 16, on_bad="report")
    with raises(DataError, "bad-cache", "--on-bad"):
        planned("both.yaml")
    build_cache(*own, 16, on_bad="skip")
    assert planned("both.yaml")[1] == planned()[1]


@pytest.mark.usefixtures("own")
def test_images_are_resized_to_about_the_image_size():
    def sized(size):
        return make_plan(Request("own.yaml", sets=(f"dataset.image_size={size}",)))

    for fits in (12, 6):
        sized(fits)
    for size in (13, 5):
        (problem,) = problems_of(partial(sized, size))
        assert (problem.path, problem.code) == ("recipes", "conflict")


@pytest.mark.usefixtures("own")
def test_what_does_not_go_together_is_located_in_the_grid():
    head = GRID[: GRID.index("variants:")] + "variants:\n  - softmax\n  - "
    for variant, found in (
        ("ssp", ("own.yaml:6", "variants[1]", "no-effect")),
        ("{label: A, method: crt, init_from: A}", ("own.yaml:4", "variants", "cycle")),
    ):
        Path("own.yaml").write_text(f"{head}{variant}\n")
        assert problems(lambda: make_plan(Request("own.yaml"))) == [found]


@pytest.mark.usefixtures("own")
def test_a_grid_without_runs_is_refused():
    Path("own.yaml").write_text(f"{GRID}splits: [balanced]\n")
    (problem,) = problems_of(lambda: make_plan(Request("own.yaml")))
    found = (problem.file, problem.line, problem.path, problem.code)
    assert found == ("own.yaml", 5, "splits", "no-effect")


def test_ratios_that_leave_a_class_empty_are_refused_where_there_are_images(own):
    sets = ("dataset.imbalance_type=step", "dataset.imbalance_ratio=100")
    with raises(DataError, "split", "class bee", "class cow"):
        make_plan(Request("own.yaml", sets=sets))


def test_bad_images_that_are_pinned_are_planned_without_the_images(own, tmp_path):
    built = build_cache(*own, 12, on_bad="skip")
    keys, bad = planned()
    assert built.bad_images == bad
    pinned = ", ".join(f"{name}: {value}" for name, value in bad.model_dump().items())
    fingerprint = own[1].fingerprint
    path = tmp_path / "configs/datasets/own.yaml"
    path.write_text(f"{DATASET}bad_images: {{{pinned}}}\nfingerprint: {fingerprint}\n")
    for folder in ("cache", "data"):
        (tmp_path / folder).rename(tmp_path / f"no {folder}")
    assert planned() == (keys, bad)


META = """
from ltbench.methods.contract import Method, Stage

class Meta(Method):
    title, paper, category = "Meta", None, "baseline"
    stages = (Stage("train", has_auxiliary_stream=True),)

METHODS = {"meta": Meta}
"""


def test_all_splits_with_classes_without_held_out_images_are_named(tmp_path):
    (tmp_path / "meta.py").write_text(META)
    (tmp_path / "grid.yaml").write_text(
        "title: Meta\nrecipes: [digits]\nseeds: [0, 1]\nsplits: [longtailed]\n"
        "variants: [meta, softmax]\ndatasets:\n"
        "  - {name: digits, imbalance_ratio: [20, 70, 120]}\n"
    )
    request = Request(str(tmp_path / "grid.yaml"), plugins=(tmp_path / "meta.py",))
    found = problems_of(lambda: make_plan(request))
    assert [(problem.path, problem.code) for problem in found] == [("datasets", "split")] * 2
    for problem, name in zip(found, ("digits_r70", "digits_r120"), strict=True):
        assert name in problem.message
    make_plan(replace(request, only=("dataset=digits_r20",)))
    make_plan(replace(request, only=("variant=softmax",)))
