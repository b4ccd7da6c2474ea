"""Every YAML in configs/ loads, and those that stand for a paper's protocol say what it says."""

import re
from itertools import pairwise
from pathlib import Path
from typing import get_args

import pytest
import yaml

from ltbench import load_runs
from ltbench.config.files import KINDS, available, find_file, read_file
from ltbench.config.grid import VariantSet
from ltbench.config.hparams import HParamResolver
from ltbench.config.load import expand_dataset, load_dataset, load_grid, load_recipe
from ltbench.config.recipe import Optimizer, Policy, Schedule
from ltbench.config.registry import load_registry
from ltbench.config.validation import validate
from ltbench.methods.contract import Category

CONFIGS = Path(__file__).parents[2] / "configs"


def names(kind):
    return sorted(path.stem for path in (CONFIGS / kind).glob("*.yaml"))


def test_every_file_is_of_a_known_kind():
    for path in CONFIGS.rglob("*"):
        if path.is_file():
            assert path.suffix == ".yaml"
            assert path.parent.name in KINDS
            assert path.stem in available(path.parent.name)
            assert path.read_text().startswith("# "), f"{path} has no header"


@pytest.mark.parametrize("name", names("datasets"))
def test_datasets(name):
    assert load_dataset(name).name == name


@pytest.mark.parametrize("name", names("recipes"))
def test_recipes(name):
    assert load_recipe(name).name == name


@pytest.mark.parametrize(
    ("name", "dataset"),
    [
        ("imagenet_lt_90", "imagenet_lt"),
        ("imagenet_lt_200", "imagenet_lt"),
        ("inaturalist_200", "inaturalist2018"),
        ("places_lt_30", "places_lt"),
    ],
)
def test_the_hours_of_a_header_follow_from_the_throughput(name, dataset):
    header = (CONFIGS / "recipes" / f"{name}.yaml").read_text()
    (stated,) = re.findall(r"^# About ([\d.]+) h a stage 1 on an RTX 3090", header, re.MULTILINE)
    recipe, images = load_recipe(name), load_dataset(dataset).official_lists.train.images
    (throughput,) = recipe.throughput
    hours = recipe.stage1.epochs * images / throughput.images_per_second / 3600
    assert float(stated) == float(f"{hours:.2g}")


MEASURED = re.compile(
    r"Expected on (\w+), ratio (\d+), seeds? (\d)(?: to (\d))? \(results/records\): (.*?\d)\.$"
)
ROWS = {"softmax": "Softmax", "balanced softmax": "Balanced Softmax", "cRT": "Decouple-IB-CRT"}


def test_the_scores_of_headers_are_those_of_the_records():
    runs, compared = load_runs(CONFIGS.parent / "results" / "records"), []
    for name in names("recipes"):
        header = (CONFIGS / "recipes" / f"{name}.yaml").read_text().partition("\ntitle:")[0]
        text = header.partition("\nextends:")[0].replace("\n# ", " ")
        if "results/records" not in text:
            continue
        dataset, ratio, first, last, scores = MEASURED.search(text).groups()
        seeds = range(int(first), int(last or first) + 1)
        for method, score in re.findall(r"([a-zA-Z ]+) ([\d.]+)(?:, |$)", scores):
            rows = runs.where(
                recipe=name,
                dataset=f"{dataset}_r{ratio}",
                label=ROWS[method],
                split="longtailed",
                seed=seeds,
            )
            assert {row["seed"] for row in rows} == set(seeds)
            mean = sum(row["acc"] for row in rows) / len(rows)
            assert float(score) == pytest.approx(mean, abs=0.0501), (name, method)
            compared.append(name)
    assert len(set(compared)) >= 5


@pytest.mark.parametrize("name", names("grids"))
def test_grids_and_rules(name):
    registry = load_registry()
    grid, resolver = load_grid(name, registry=registry), HParamResolver(registry)
    for choice in grid.datasets:
        for spec in expand_dataset(choice):
            for variant in grid.variants:
                resolver.resolve(variant.method, variant.hparams, spec)


BEFORE = {"decoupled_samplers": "survey"}
"""Sets that start from variants of another set, which stands before them."""


def variants_of(name):
    values, location = read_file("variants", find_file("variants", name))
    return validate(VariantSet, values, location, {"name": name}).variants


@pytest.mark.parametrize("name", names("variants"))
def test_variant_sets(name):
    variants, registry = variants_of(name), load_registry()
    before = variants_of(BEFORE[name]) if name in BEFORE else ()
    labels = {variant.label for variant in (*before, *variants)}
    for variant in variants:
        assert variant.method in registry
        assert variant.init_from is None or variant.init_from in {*registry, *labels}


def test_no_two_grids_list_the_same_variants():
    seen = {}
    for name in names("grids"):
        listed = yaml.safe_load((CONFIGS / "grids" / f"{name}.yaml").read_text()).get("variants")
        if isinstance(listed, list):
            for pair in pairwise(listed):
                if not any("set" in variant for variant in pair):
                    other = seen.setdefault(repr(pair), name)
                    assert other == name, f"{other} and {name} list {pair}: name a set"
    assert seen


def test_every_method_is_in_a_variant_set():
    sets = [read_file("variants", find_file("variants", name))[0] for name in names("variants")]
    named = {
        variant.get(field)
        for s in sets
        for variant in s["variants"]
        for field in ("method", "init_from")
    }
    missing = set(load_registry()) - named
    assert not missing, f"add a line to configs/variants/survey.yaml: {missing}"


@pytest.mark.parametrize(
    "name",
    [
        "cifar10_lt",
        "cifar100_lt",
        "tinyimagenet_lt",
        "imagenet_lt",
        "places_lt",
        "inaturalist2018",
    ],
)
def test_a_grid_of_all_methods_has_all_that_fit(name):
    variants = load_grid(name, registry=load_registry()).variants
    named = {key for variant in variants for key in (variant.method, variant.init_from)}
    missing = set(load_registry()) - named
    assert missing == set(), f"{name} lacks methods that may fit"


@pytest.mark.parametrize("kind", ["datasets", "recipes", "grids"])
def test_no_file_repeats_what_it_inherits(kind):
    for name in names(kind):
        own = yaml.safe_load((CONFIGS / kind / f"{name}.yaml").read_text())
        if base := own.pop("extends", None):
            inherited, _ = read_file(kind, find_file(kind, base))
            assert not list(repeated(own, inherited)), name


def test_no_rule_repeats_one_that_it_inherits():
    extending = 0
    for name in names("methods"):
        own = yaml.safe_load((CONFIGS / "methods" / f"{name}.yaml").read_text())
        if base := own.get("extends"):
            extending += 1
            rules = read_file("methods", find_file("methods", base))[0]["rules"]
            inherited = [rule["hparams"].items() for rule in rules]
            for rule in own.get("rules", ()):
                assert not any(rule["hparams"].items() <= theirs for theirs in inherited), name
    assert extending >= 3


def repeated(own, inherited):
    """Yield the fields that two mappings have alike, inside of fields of theirs too."""
    for field in own.keys() & inherited.keys():
        if own[field] == inherited[field]:
            yield field
        elif isinstance(own[field], dict) and isinstance(inherited[field], dict):
            yield from repeated(own[field], inherited[field])


def test_rules_are_of_methods():
    assert set(names("methods")) <= set(load_registry())


TEN_CLASSES = (
    *("cifar10", "cifar10_jpeg", "cifar10_jpeg_2k"),
    *("svhn", "fashion_mnist", "digits", "pathmnist"),
)
TINY = ("tinyimagenet", "tinyimagenet32")
BY_DATASET = {"lade"}
"""Methods whose authors' values are of single datasets."""
LARGE = ("imagenet_lt", "places_lt", "inaturalist2018", "cub200", "food101", "fgvc_aircraft")


def resolved(method, dataset, ratio=100):
    """Return all hyper-parameters that a method has on a dataset."""
    spec = load_dataset(dataset)
    spec = spec.model_copy(
        update={"imbalance_ratio": None if spec.imbalance_ratio is None else ratio}
    )
    registry = load_registry()
    return HParamResolver(registry).resolve(method, {}, spec).values


@pytest.mark.parametrize("method", sorted({*names("methods")} - BY_DATASET))
@pytest.mark.parametrize("ratio", [10, 50, 100])
def test_datasets_of_a_kind_have_the_same_hyper_parameters(method, ratio):
    cifar100 = resolved(method, "cifar100", ratio)
    assert all(resolved(method, name, ratio) == cifar100 for name in TINY)
    cifar10 = resolved(method, "cifar10", ratio)
    assert all(resolved(method, name, ratio) == cifar10 for name in TEN_CLASSES)


@pytest.mark.parametrize(
    ("method", "name", "small", "large"),
    [
        ("mixup", "alpha", 1.0, 0.2),
        ("cutmix", "probability", 0.5, 1.0),
        ("remix", "alpha", 1.0, 0.2),
        ("mislas", "alpha", 1.0, 0.2),
        ("causal_tde", "mu_lr", 0.0, 0.02),
        ("paco", "width", 32, 128),
        ("glmc", "width", 128, 256),
        ("ride_router", "top", 30, 50),
        ("ssp", "task", "rotation", "moco"),
        ("ride", "diversity", -0.45, -0.2),
        ("ride_distill", "diversity", -0.45, -0.2),
    ],
)
def test_small_images_have_the_values_of_cifar_and_large_ones_those_of_imagenet(
    method, name, small, large
):
    assert {resolved(method, d)[name] for d in (*TEN_CLASSES, *TINY, "cifar100")} == {small}
    assert {resolved(method, d)[name] for d in LARGE} == {large}


IMAGENET, PLACES, INATURALIST = "imagenet_lt", "places_lt", "inaturalist2018"
AUTHORS = [
    (
        "balanced_meta_softmax",
        IMAGENET,
        {"power": 0.1, "meta_lr": 0.001, "meta_images": "held_out"},
    ),
    ("balanced_meta_softmax", PLACES, {"power": 0.3, "meta_lr": 0.001, "meta_images": "held_out"}),
    ("bcl", IMAGENET, {"alpha": 1.0, "beta": 0.35, "temperature": 0.07, "width": 1024}),
    ("bcl", INATURALIST, {"alpha": 1.0, "beta": 0.35, "temperature": 0.07, "width": 1024}),
    ("causal_tde", IMAGENET, {"alpha": 3.0, "mu_lr": 0.02}),
    ("causal_tde", PLACES, {"alpha": 3.0, "mu_lr": 0.02}),
    ("class_balanced", INATURALIST, {"form": "focal", "beta": 0.999, "gamma": 0.5}),
    ("disalign", IMAGENET, {"rho": 1.2}),
    ("glmc", IMAGENET, {"weighting": 1.0, "consistency": 10.0, "resampling": 0.2}),
    ("gpaco", IMAGENET, {"alpha": 0.05, "temperature": 0.2, "smoothing": 0.0}),
    ("gpaco", PLACES, {"alpha": 0.02, "temperature": 0.2}),
    ("gpaco", INATURALIST, {"alpha": 0.05, "temperature": 0.2}),
    ("kcl", IMAGENET, {"positives": 6, "temperature": 0.07, "queue": 65536, "views": "recipe"}),
    ("lade", IMAGENET, {"penalty": 0.5, "alpha": 0.05}),
    ("lade", PLACES, {"penalty": 0.1, "alpha": 0.005}),
    ("lade", INATURALIST, {"penalty": 0.5, "alpha": 0.05}),
    ("metasaug", IMAGENET, {"strength": 0.25}),
    ("mislas", IMAGENET, {"alpha": 0.2, "smooth_head": 0.3, "classifier_lr": 0.05}),
    ("mislas", PLACES, {"smooth_head": 0.4, "smooth_tail": 0.1, "classifier_lr": 0.05}),
    ("mislas", INATURALIST, {"smooth_head": 0.3, "smooth_tail": 0.0, "classifier_lr": 0.05}),
    ("ncl", IMAGENET, {"contrast": 0.0, "classifier": "cosine", "hard_share": 0.3}),
    ("ncl", PLACES, {"contrast": 1.0, "queue": 65536, "width": 1024, "hard_share": 0.335}),
    ("ncl", INATURALIST, {"contrast": 0.0, "classifier": "cosine", "scale": 32.0}),
    ("oltr", PLACES, {"freeze_backbone": True}),
    ("paco", IMAGENET, {"alpha": 0.05, "temperature": 0.07, "queue": 8192}),
    ("paco", PLACES, {"alpha": 0.05, "temperature": 0.2}),
    ("paco", INATURALIST, {"alpha": 0.05, "temperature": 0.2}),
    ("realistic_taxonomic", INATURALIST, {"sampling_weight": 0.5}),
    ("reslt", IMAGENET, {"beta": 0.99, "gamma": 0.7}),
    ("reslt", INATURALIST, {"beta": 0.85}),
    ("ride", IMAGENET, {"diversity": -0.2, "spread": 0.02}),
    ("ride", INATURALIST, {"diversity": -0.2, "spread": 0.015}),
    ("rsg", PLACES, {"deferred": "drs", "max_margin": 0.2, "scale": 50.0}),
    ("sade", IMAGENET, {"tau": 2.0, "reduced": True}),
    ("sade", PLACES, {"tau": 1.0, "reduced": False}),
    ("sade", INATURALIST, {"tau": 1.0, "reduced": True}),
    ("ssd", IMAGENET, {"contrast_temperature": 0.2, "temperature": 2.0}),
    ("ssp", IMAGENET, {"task": "moco"}),
    ("tsc", IMAGENET, {"target_weight": 0.2, "head": "mlp", "positives": 6}),
]
"""Values of the authors' papers and code for large datasets."""


@pytest.mark.parametrize(("method", "dataset", "values"), AUTHORS)
def test_large_datasets_have_their_authors_values(method, dataset, values):
    assert resolved(method, dataset).items() >= values.items()


def test_the_weight_of_positives_falls_with_the_classes():
    for name, alpha in (("dermamnist", 0.001), ("cub200", 0.01), ("places_lt", 0.05)):
        assert resolved("paco", name)["alpha"] == alpha


def test_cifar_30_is_the_field_recipe_in_short():
    recipe = load_recipe("cifar_30")
    assert (recipe.network, recipe.norm, recipe.batch_size, recipe.precision) == (
        "resnet20",
        "batch",
        128,
        "fp32",
    )
    assert (recipe.augment, recipe.crop_padding) == ("crop_flip", 4)
    assert (recipe.stage1.epochs, recipe.stage1.deferred_from_epoch) == (30, 24)
    assert recipe.stage1.optimizer == Optimizer(
        lr=0.1, momentum=0.9, weight_decay=2e-4, nesterov=False
    )
    assert recipe.stage1.schedule == Schedule(
        kind="step", warmup=5, milestones=(24, 27), gamma=0.01
    )


@pytest.mark.parametrize(
    ("name", "plain", "policy"),
    [
        ("cifar_200_randaugment", "cifar_200", Policy(kind="randaugment")),
        ("cifar_200_autoaugment", "cifar_200", Policy(kind="autoaugment_cifar10", cutout=16)),
        ("cifar_fast_randaugment", "cifar_fast", Policy(kind="randaugment")),
    ],
)
def test_recipes_with_a_policy_change_nothing_else(name, plain, policy):
    altered, before = load_recipe(name), load_recipe(plain)
    assert altered.policy == policy
    assert altered.identity() == {**before.identity(), "policy": policy.model_dump(mode="json")}


def test_quickstart_has_a_dozen_methods_of_all_categories_on_both_splits():
    grid, methods = load_grid("quickstart"), load_registry().methods
    used = {v.method for v in grid.variants} | {v.init_from for v in grid.variants}
    categories = {methods[key].category for key in used & methods.keys()}
    assert categories == set(get_args(Category))
    assert len(grid.variants) == 1 + 12
    assert set(grid.splits) == {"longtailed", "balanced"}
    assert len(grid.seeds) >= 2


def test_digits_are_never_mirrored():
    assert "flip" not in load_recipe("digits").augment
