"""Problems of a grid that each of its files is free of."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from itertools import product

from ltbench.config.dataset import DatasetSpec
from ltbench.config.errors import Location, Problem, format_value
from ltbench.config.grid import Grid
from ltbench.config.hparams import HParamResolver
from ltbench.config.recipe import Recipe
from ltbench.config.registry import MethodRegistry

MOST_RESIZED = 2
"""Largest `resize_shorter_side`, in image sizes: of larger images a test sees but the middle."""


def grid_problems(
    grid: Grid,
    datasets: Sequence[DatasetSpec],
    recipes: Mapping[str, Recipe],
    registry: MethodRegistry,
    resolver: HParamResolver,
    location: Location,
) -> Iterator[Problem]:
    """Yield what in a grid does not go together.

    These are datasets of one id, variants with another network than the grid, recipes for another
    kind of images, pre-training that no variant starts from, changes to a stage of the recipe that
    a variant does not train, trials on test images, and variants that learn from the images to test
    on.
    """
    yield from _same_ids(datasets, location.at("datasets"))
    yield from _other_networks(grid, recipes, location.at("variants"))
    for dataset, recipe in product(datasets, recipes.values()):
        yield from _image_sizes(dataset, recipe, location.at("recipes"))
    yield from _unused_pretraining(grid, registry, location.at("variants"))
    yield from _unused_changes(grid, registry, location.at("variants"))
    trials = any(variant.trial_of for variant in grid.variants)
    for dataset in datasets:
        if trials and dataset.tested_on == "test":
            message = (
                f"{dataset.id} needs `tested_on: auxiliary` for trials: no value is chosen on "
            )
            yield location.at("datasets").problem("conflict", f"{message}test images")
        if dataset.tested_on == "auxiliary":
            yield from _trained_on_tested(
                grid, dataset, registry, resolver, location.at("variants")
            )


def _same_ids(datasets: Sequence[DatasetSpec], location: Location) -> Iterator[Problem]:
    for name, n in Counter(dataset.id for dataset in datasets).items():
        if n > 1:
            message = f"{format_value(name)} is the name of {n} datasets with their ratios"
            yield location.problem("duplicate", message)


def _other_networks(
    grid: Grid, recipes: Mapping[str, Recipe], location: Location
) -> Iterator[Problem]:
    for i, variant in enumerate(grid.variants):
        own = recipes[variant.recipe] if variant.recipe else None
        for base in (recipes[name] for name in grid.recipes):
            if own and (own.network, own.norm) != (base.network, base.norm):
                message = (
                    f"{format_value(own.name)} has another network than {format_value(base.name)}"
                )
                yield location.at(i, "recipe").problem("conflict", message)


def _image_sizes(dataset: DatasetSpec, recipe: Recipe, location: Location) -> Iterator[Problem]:
    if dataset.any_size == (recipe.resize_shorter_side is None):
        have = "any size and need a resize_shorter_side" if dataset.any_size else "one size"
        message = f"{format_value(recipe.name)} is not for {dataset.id}, whose images have {have}"
        yield location.problem("conflict", message)
    elif (side := recipe.resize_shorter_side) is not None and not (
        dataset.image_size <= side <= MOST_RESIZED * dataset.image_size
    ):
        message = (
            f"{format_value(recipe.name)} resizes images to a shorter side of {side}, for an "
            f"image_size from {-(-side // MOST_RESIZED)} to {side}; that of {dataset.id} is "
            f"{dataset.image_size}"
        )
        yield location.problem("conflict", message)
    if recipe.padding >= dataset.image_size:
        message = (
            f"{format_value(recipe.name)} has a crop_padding of {recipe.padding}; that of "
            f"{dataset.id} is below its image_size, {dataset.image_size}"
        )
        yield location.problem("conflict", message)


def _unused_pretraining(
    grid: Grid, registry: MethodRegistry, location: Location
) -> Iterator[Problem]:
    inits = {variant.init_from for variant in grid.variants}
    for i, variant in enumerate(grid.variants):
        if not registry[variant.method].predicts and inits.isdisjoint(
            (variant.label, variant.method)
        ):
            message = f"{format_value(variant.label)} only pre-trains; nothing starts from it"
            yield location.at(i).problem("no-effect", message)


def _unused_changes(grid: Grid, registry: MethodRegistry, location: Location) -> Iterator[Problem]:
    for i, variant in enumerate(grid.variants):
        trained = _trained_stages(variant.method, registry)
        for path in variant.recipe_overrides:
            stage, _, _ = path.partition(".")
            if stage not in trained:
                message = f"has no effect: {format_value(variant.method)} itself trains no {stage}"
                yield location.at(i, "recipe_overrides", path).problem("no-effect", message)


def _trained_stages(method: str, registry: MethodRegistry) -> set[str]:
    """Return the recipe's stages by which a method or its teachers train."""
    methods = [method, *(teacher.method for teacher in registry[method].teachers)]
    stages = (stage for name in methods for stage in registry[name].stages)
    return {stage.recipe_stage for stage in stages if stage.is_trained}


def _trained_on_tested(
    grid: Grid,
    dataset: DatasetSpec,
    registry: MethodRegistry,
    resolver: HParamResolver,
    location: Location,
) -> Iterator[Problem]:
    for i, variant in enumerate(grid.variants):
        hparams = resolver.resolve(variant.method, variant.hparams, dataset).values
        stages = (stage.resolve(hparams) for stage in registry[variant.method].stages)
        if any(stage.needs_auxiliary for stage in stages):
            message = (
                f"{format_value(variant.label)} uses the auxiliary images of {dataset.id} itself, "
                "and cannot be tested on them"
            )
            yield location.at(i).problem("conflict", message)
