"""Grids of large datasets, planned without their images."""

import pytest
import timm
import torch
import torchvision

from ltbench.analysis.published import comparable
from ltbench.analysis.result_set import boards
from ltbench.config.load import load_grid, load_recipe
from ltbench.launch.cost import CostModel
from ltbench.launch.plan import Request, make_plan
from ltbench.networks import NetworkSpec, build_backbone
from ltbench.runs.store import Loaded

LARGE = (
    "imagenet_lt",
    "survey_imagenet_lt",
    "decoupling_imagenet_lt",
    "losses_decoupled_imagenet_lt",
    "places_lt",
    "inaturalist2018",
)


def plan_of(name, tmp_path, *only):
    return make_plan(Request(name, only=only, data_root=tmp_path / "nowhere"))[0]


@pytest.mark.parametrize("name", LARGE)
def test_a_plan_needs_neither_lists_nor_images(name, tmp_path):
    plan = plan_of(name, tmp_path)
    assert all(job.dataset.fingerprint is not None for job in plan.jobs.values())
    cost = CostModel(Loaded(), "this machine")
    hours = [cost.estimate(job).seconds / 3600 for job in plan.jobs.values()]
    assert all(0 <= each < 24 for each in hours)


def test_keys_are_final(tmp_path):
    """A change here means that everybody's runs of these grids are lost."""
    keys = {
        (row.recipe.name, row.split): row.key
        for name in ("imagenet_lt", "places_lt", "inaturalist2018")
        for row in plan_of(name, tmp_path, "variant=Softmax").rows
    }
    assert keys == {
        ("imagenet_lt_90", "longtailed"): "d99ae0fce70ecd8f",
        ("imagenet_lt_90", "balanced"): "c06d043255600866",
        ("imagenet_lt_200", "longtailed"): "5eb59b5e94fe7c3b",
        ("imagenet_lt_200", "balanced"): "6368c04d9db9e23b",
        ("places_lt_30", "longtailed"): "4b1e135f699c0c72",
        ("places_lt_30", "balanced"): "eb946687bae11918",
        ("inaturalist_200", "longtailed"): "4027d3f95231316c",
    }


INATURALIST = """Softmax, Weighted Softmax, Focal, LDAM-DRW, Balanced Softmax, LADE, Softmax + SSP,
SSP, RSG, PaCo, Decouple-IB-CRT, Decouple-IB-LWS, MiSLAS, ResLT, RIDE, SADE"""
"""Rows of the survey's table of iNaturalist."""


def rows_of_the_survey(name):
    """Return the labels of a grid's rows that the survey's tables have."""
    if name == "inaturalist2018":
        return set(INATURALIST.replace("\n", " ").split(", "))
    grid = "survey_imagenet_lt" if name == "imagenet_lt" else name
    return {variant.label for variant in load_grid(grid).variants}


def test_the_survey_stands_beside_every_row_of_its_tables(tmp_path):
    for name, metrics in (
        ("imagenet_lt", ("acc", "ua", "ra", "many", "medium", "few")),
        ("losses_decoupled_imagenet_lt", ("acc", "many", "medium", "few")),
        ("inaturalist2018", ("acc", "many", "medium", "few")),
    ):
        for board in boards(plan_of(name, tmp_path), {}):
            figures, rows = comparable(board), rows_of_the_survey(name)
            entries = [entry for entry in board.entries if entry.variant.label in rows]
            assert len(entries) == len(rows)
            lacking = {
                entry.variant.label
                for entry in entries
                if not all(figures.of(entry, metric, "survey") for metric in metrics)
            }
            # What SSP's row starts from is no row of the survey; its SSP has a ResNet-50.
            assert lacking <= {"Softmax + SSP", "SSP"}
            assert name != "inaturalist2018" or "SSP" not in lacking


def test_the_surveys_study_is_a_part_of_the_grid_of_all_methods(tmp_path):
    study, whole = (plan_of(name, tmp_path) for name in ("survey_imagenet_lt", "imagenet_lt"))
    assert study.jobs.keys() < whole.jobs.keys()
    assert {(row.variant.label, row.jobs) for row in study.rows} < {
        (row.variant.label, row.jobs) for row in whole.rows
    }


def test_inaturalist_says_why_it_has_no_ua(tmp_path):
    (board,) = boards(plan_of("inaturalist2018", tmp_path), {})
    value = board.entries[0].values["ua"]
    assert value.state == "not available"
    assert "cannot be drawn" in value.reason


def test_the_networks_of_the_recipes_can_be_built():
    for name in (
        "imagenet_lt_90",
        "imagenet_lt_200",
        "inaturalist_200",
        "places_lt_30",
        "photos_finetune",
    ):
        recipe = load_recipe(name)
        with torch.device("meta"):
            _, width = build_backbone(NetworkSpec(recipe.network, classes=5))
        assert width == 2048


def test_the_tag_of_places_is_one_of_timms():
    recipe = load_recipe("places_lt_30")
    assert timm.is_model_pretrained(f"{recipe.network}.{recipe.pretrained.tag}")


def test_the_weights_for_photographs_are_torchvisions():
    recipe = load_recipe("photos_finetune")
    url = torchvision.models.get_model_weights(recipe.network).IMAGENET1K_V1.url
    assert url.endswith(f"/{recipe.pretrained.file}")
    assert recipe.pretrained.file == f"resnet50-{recipe.pretrained.sha256[:8]}.pth"


@pytest.mark.parametrize(
    ("short", "long"),
    [
        ("cifar_90", "cifar_200"),
        ("cifar_fast_half", "cifar_fast"),
        ("cifar_fast", "cifar_fast_double"),
        ("cifar_fast_double", "cifar_fast_quadruple"),
        ("cifar_fast_2k", "cifar_fast_2k_double"),
    ],
)
def test_budgets_differ_in_epochs_alone(short, long):
    one, other = load_recipe(short), load_recipe(long)
    assert one.stage1.epochs < other.stage1.epochs
    first = {"epochs": 1, "schedule": one.stage1.schedule, "deferred_from_epoch": None}
    same = {"name": "", "title": "", "throughput": ()}
    assert one.model_copy(
        update=same | {"stage1": one.stage1.model_copy(update=first)}
    ) == other.model_copy(update=same | {"stage1": other.stage1.model_copy(update=first)})
    for recipe in (one, other):
        share = recipe.stage1.first_deferred_epoch / recipe.stage1.epochs
        assert share == pytest.approx(one.stage1.first_deferred_epoch / one.stage1.epochs, abs=0.02)
