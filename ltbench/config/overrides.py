"""Overrides and filters: `--set recipe.stage1.epochs=5`, `--only seed=0`."""

import csv
import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, Protocol, get_args

from ltbench.config.dataset import DatasetSpec, Split
from ltbench.config.errors import (
    COMMAND_LINE,
    ConfigError,
    Location,
    Merged,
    Problem,
    collect_errors,
    did_you_mean,
    format_value,
    raise_all,
)
from ltbench.config.grid import Variant
from ltbench.config.recipe import Recipe, scaled_stage
from ltbench.config.validation import validate
from ltbench.config.yaml_file import parse_yaml

ONLY = Location("--only")

Target = Literal["grid", "recipe", "dataset", "hparams"]
TARGETS: tuple[Target, ...] = get_args(Target)

SCALED = "scaled_epochs"


@dataclass(frozen=True)
class Override:
    """One `--set`.

    Attributes:
        text: as typed.
        target: what it changes: fields of the grid, of each of its recipes or datasets, or a
            hyper-parameter.
        path: the field; of a hyper-parameter the variant's label (or its method) and the name.
        value: parsed as YAML.
    """

    text: str
    target: Target
    path: tuple[str, ...]
    value: Any


def parse_overrides(
    texts: Sequence[str], targets: Collection[Target] = TARGETS
) -> tuple[Override, ...]:
    """Parse `--set PATH=VALUE` options.

    Paths are `grid.FIELD`, `recipe.FIELD`, `dataset.FIELD` (fields of fields joined by dots) and
    `hparams.VARIANT.NAME`, where VARIANT is a label, dots and all, or a method. The `scaled_epochs`
    of a recipe's stage are its epochs with the schedule scaled to them (see `scaled_stage`).

    Args:
        texts: as typed.
        targets: what they can change here.

    Raises:
        ConfigError: naming every option that has no meaning or no effect, or is given twice.
    """
    problems: list[Problem] = []
    overrides: list[Override] = []
    for text in texts:
        with collect_errors(problems):
            override = _parse(text)
            if override.target not in targets:
                location = COMMAND_LINE.at(override.target, *override.path)
                others = " or ".join(f"{target}.FIELD" for target in targets)
                hint = f"only {others} has" if others else None
                raise location.error("no-effect", "has no effect here", hint)
            overrides.append(override)
    raise_all([*problems, *repeated(overrides)])
    return tuple(overrides)


def repeated(overrides: Sequence[Override]) -> Iterator[Problem]:
    """Yield the problems of fields that are set twice."""
    times = Counter((override.target, *override.path) for override in overrides)
    for path, number in times.items():
        if number > 1:
            yield COMMAND_LINE.at(*path).problem("duplicate", f"is set {number} times")


def _parse(text: str) -> Override:
    name, equals, written = text.partition("=")
    head, _, rest = name.strip().partition(".")
    target = next((t for t in TARGETS if t == head), None)
    if target is None:
        message = f"no setting {format_value(name)}"
        raise COMMAND_LINE.error("unknown-key", message, did_you_mean(head, TARGETS))
    path = tuple(rest.rsplit(".", 1) if head == "hparams" else rest.split("."))
    location = COMMAND_LINE.at(head, *path)
    if not all(path) or (head == "hparams" and len(path) < 2):
        form = "hparams.VARIANT.NAME" if head == "hparams" else f"{head}.FIELD"
        message = f"{format_value(name)} names no field, write {form}=VALUE"
        raise COMMAND_LINE.error("malformed", message)
    if not equals:
        raise location.error("malformed", f"has no value, write {name}=VALUE")
    try:
        value, _ = parse_yaml(written, "--set")
    except ConfigError as error:
        raise ConfigError([location.problem(p.code, p.message) for p in error.problems]) from None
    return Override(text, target, path, value)


def apply_overrides(
    values: dict[str, Any], overrides: Sequence[Override], location: Location
) -> dict[str, Any]:
    """Return values with overrides applied; the given ones stay unchanged.

    Raises:
        ConfigError: for a path that leads through something that has no fields.
    """
    for override in overrides:
        values = _replaced(values, override.path, override.value, location)
    return values


def _replaced(values: Any, path: tuple[str, ...], new: Any, location: Location) -> Any:
    if not path:
        return new
    if not isinstance(values, dict):
        raise location.error("wrong-type", f"{format_value(values)} has no fields")
    field, *rest = path
    if field == SCALED and not rest and "epochs" in values:
        return scaled_stage(values, new)
    old = values.get(field, {})
    return {**values, field: _replaced(old, tuple(rest), new, location.at(field))}


def is_stage_field(path: str) -> bool:
    """Return whether a path is of a field of a recipe's stage."""
    return path.startswith(("stage1.", "stage2."))


def change_recipe(recipe: Recipe, changes: Mapping[str, Any], location: Location) -> Recipe:
    """Return a recipe with fields of its stages changed, by path.

    Args:
        recipe: to change.
        changes: values by path, such as `stage1.optimizer.lr`.
        location: where they were written.

    Raises:
        ConfigError: naming every change that is not allowed.
    """
    raise_all(
        location.at(path).problem("malformed", "expected a field of stage1 or stage2")
        for path in changes
        if not is_stage_field(path)
    )
    values = recipe.model_dump(mode="json", exclude={"name"}, exclude_unset=True)
    for path, value in changes.items():
        values = _replaced(values, tuple(path.split(".")), value, location)
    return validate(Recipe, values, location, {"name": recipe.name})


@dataclass(frozen=True)
class VariantHParams:
    """Hyper-parameters that a variant sets, and where they were written."""

    label: str
    method: str
    values: dict[str, Any]
    location: Location

    def override(self, who: str, name: str, value: Any) -> "VariantHParams":
        """Return them with one overridden, by label or method."""
        here = COMMAND_LINE.at("hparams", who)
        parts = {key: self.location.at(key) for key in self.values} | {name: here.at(name)}
        values = {**self.values, name: value}
        return replace(self, values=values, location=Merged.of(here, parts))


def override_hparams(
    variants: Sequence[VariantHParams], overrides: Sequence[Override], problems: list[Problem]
) -> list[VariantHParams]:
    """Return the hyper-parameters of variants, overridden: by label, else by method.

    Args:
        variants: of the grid.
        overrides: those of hyper-parameters.
        problems: to which overrides of no variant are added.
    """
    overridden = list(variants)
    for override in overrides:
        who, name = override.path
        meant = [i for i, v in enumerate(variants) if v.label == who]
        meant = meant or [i for i, v in enumerate(variants) if v.method == who]
        for i in meant:
            overridden[i] = overridden[i].override(who, name, override.value)
        if not meant:
            names = [name for v in variants for name in (v.label, v.method)]
            message = f"the grid has no variant or method {format_value(who)}"
            location = COMMAND_LINE.at("hparams", *override.path)
            problems.append(location.problem("unknown-variant", message, did_you_mean(who, names)))
    return overridden


class Run(Protocol):
    """A planned run, as far as a filter needs it."""

    @property
    def dataset(self) -> DatasetSpec: ...  # noqa: D102
    @property
    def recipe(self) -> Recipe: ...  # noqa: D102
    @property
    def split(self) -> Split: ...  # noqa: D102
    @property
    def seed(self) -> int: ...  # noqa: D102
    @property
    def variant(self) -> Variant: ...  # noqa: D102


@dataclass(frozen=True)
class RowFilter:
    """Filter of planned runs.

    A run passes if each non-empty field contains its value.
    """

    variant: tuple[str, ...] = ()
    dataset: tuple[str, ...] = ()
    recipe: tuple[str, ...] = ()
    split: tuple[str, ...] = ()
    seed: tuple[str, ...] = ()

    def matches(self, row: Run) -> bool:
        """Return whether a run passes."""
        return all(
            not (values := getattr(self, field)) or not names.isdisjoint(values)
            for field, names in _names(row).items()
        )

    def check(self, rows: Iterable[Run]) -> None:
        """Refuse values that no run of a plan has.

        Raises:
            ConfigError: naming each, with the nearest known ones.
        """
        known: dict[str, set[str]] = {field.name: set() for field in fields(self)}
        for row in rows:
            for field, names in _names(row).items():
                known[field] |= names
        raise_all(self.unknown(known))

    def unknown(self, known: Mapping[str, Iterable[str]]) -> Iterator[Problem]:
        """Yield the values that are no known name of their field."""
        for field, names in known.items():
            for value in getattr(self, field):
                if value not in names:
                    message = f"the grid has no {field} {format_value(value)}"
                    hint = did_you_mean(value, names)
                    yield ONLY.at(field).problem("unknown-value", message, hint)


def _names(row: Run) -> dict[str, set[str]]:
    """Return the names of a run by field, e.g. label and method."""
    variant = row.variant
    return {
        "variant": {variant.label, variant.method, variant.trial_of or variant.label},
        "dataset": {row.dataset.name, row.dataset.id},
        "recipe": {row.recipe.name},
        "split": {row.split},
        "seed": {str(row.seed)},
    }


def parse_only(texts: Sequence[str]) -> RowFilter:
    """Parse `--only FIELD=VALUE,VALUE[,FIELD=VALUE]` options into one filter.

    A value with commas is in double quotes.

    Raises:
        ConfigError: naming every option that is not of that form.
    """
    problems: list[Problem] = []
    known = [field.name for field in fields(RowFilter)]
    chosen: dict[str, tuple[str, ...]] = {}
    next_field = re.compile(rf",\s*(?=(?:{'|'.join(known)})=)")
    for option in (option for text in texts for option in next_field.split(text)):
        field, _, listed = option.partition("=")
        quoted = next(csv.reader([listed], skipinitialspace=True), [])
        values = tuple(value.strip() for value in quoted if value.strip())
        if field not in known:
            message = f"no field {format_value(field)}"
            problems.append(ONLY.problem("unknown-key", message, did_you_mean(field, known)))
        elif not values:
            message = f"has no value, write {field}=VALUE,VALUE"
            problems.append(ONLY.at(field).problem("malformed", message))
        chosen[field] = chosen.get(field, ()) + values
    raise_all(problems)
    return RowFilter(**chosen)
