"""Sections of methods: paper, definition, hyper-parameters, results, curves."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from functools import lru_cache

import numpy as np

from ltbench.analysis.relative_to_baseline import by_frequency, per_class_accuracy
from ltbench.analysis.result_set import VariantResult
from ltbench.config.registry import MethodInfo
from ltbench.core.exact import mean
from ltbench.report.families import FAMILIES, Family, family_of, listed_method
from ltbench.report.method_tables import definition
from ltbench.report.page.board_views import BoardView
from ltbench.report.page.cells import RenderedCell
from ltbench.runs.store import Stored

CURVE_POINTS = 60
"""Points of a curve; with more classes, neighbors in frequency are averaged."""

REPEATED_COLUMNS = ("Acc", "Gain", "RA", "Many", "Medium", "Few")
"""Columns of the overview that a method's section repeats, if a board has them."""


@dataclass(frozen=True)
class ShownHParam:
    """A hyper-parameter of a method."""

    name: str
    default: str
    meaning: str


@dataclass(frozen=True)
class MethodRow:
    """A variant of the method on a board, with overview cells."""

    view: BoardView
    entry: VariantResult
    settings: str
    cells: tuple[RenderedCell, ...]


@dataclass(frozen=True)
class Curve:
    """Accuracy by class in percent, the most frequent class first.

    Attributes:
        view: of the board.
        label: of the variant.
        classes: their number.
        ours, softmax: accuracies of the variant and of softmax; means over neighbors with more than
            `CURVE_POINTS` classes.
        images: numbers of training images.
    """

    view: BoardView
    label: str
    classes: int
    ours: tuple[Fraction, ...]
    softmax: tuple[Fraction, ...]
    images: tuple[Fraction, ...]


@dataclass(frozen=True)
class MethodSection:
    """A method on the page; `info` is None if not installed."""

    key: str
    title: str
    family: Family
    info: MethodInfo | None
    definition: str
    hparams: tuple[ShownHParam, ...]
    rows: tuple[MethodRow, ...]
    command: str
    curves: tuple[Curve, ...]


def method_sections(
    views: Sequence[BoardView],
    methods: Mapping[str, MethodInfo],
    records: Mapping[str, Stored],
    columns: Sequence[str],
) -> list[MethodSection]:
    """Return a section per method on any board, ordered by family.

    Args:
        views: the boards.
        methods: of the registry.
        records: valid records by key.
        columns: of the overview, which a section repeats.
    """
    used: dict[str, list[tuple[BoardView, VariantResult]]] = {}
    for view in views:
        for entry in view.board.entries:
            used.setdefault(listed_method(entry, methods), []).append((view, entry))
    order = [*(key for key in methods if key in used), *(key for key in used if key not in methods)]
    sections = [_section(key, used[key], methods, records, columns) for key in order]
    families = list(FAMILIES.values())
    return sorted(sections, key=lambda section: families.index(section.family))


def _section(
    key: str,
    used: Sequence[tuple[BoardView, VariantResult]],
    methods: Mapping[str, MethodInfo],
    records: Mapping[str, Stored],
    columns: Sequence[str],
) -> MethodSection:
    info = methods.get(key)
    return MethodSection(
        key=key,
        title=info.title if info else key,
        family=family_of(key, methods),
        info=info,
        definition=definition(info) if info else "",
        hparams=_hparams(info) if info else (),
        rows=tuple(_row(view, entry, columns) for view, entry in used),
        command=_command(key, used),
        curves=tuple(_curves(used, records)),
    )


def _command(key: str, used: Sequence[tuple[BoardView, VariantResult]]) -> str:
    """Return the command that trains the method's variants of its first grid."""
    grid = used[0][0].board.grid
    variants = [entry.variant for view, entry in used if view.board.grid == grid]
    names = key
    if all(variant.method != key for variant in variants):
        labels = dict.fromkeys(variant.label.replace('"', '""') for variant in variants)
        names = ",".join(f'"{label}"' for label in labels)
    return f"ltbench run --grid {grid} --only {shlex.quote(f'variant={names}')}"


def _hparams(info: MethodInfo) -> tuple[ShownHParam, ...]:
    schemas: dict[str, dict[str, object]] = info.hparams.get("properties", {})
    return tuple(
        ShownHParam(
            name=name,
            default=json.dumps(schema["default"]) if "default" in schema else "",
            meaning=str(schema.get("description", "")),
        )
        for name, schema in schemas.items()
    )


def _row(view: BoardView, entry: VariantResult, columns: Sequence[str]) -> MethodRow:
    variant, table = entry.variant, view.overview
    settings = [f"{name} {json.dumps(value)}" for name, value in variant.hparams.items()]
    if variant.init_from is not None:
        settings.append(f"from {variant.init_from}")
    if variant.recipe is not None:
        settings.append(f"recipe {variant.recipe}")
    line = next(line for line in table.lines if line.entry is entry)
    cells = tuple(table.cell(line, title) for title in columns)
    return MethodRow(view, entry, ", ".join(settings), cells)


def _curves(
    used: Sequence[tuple[BoardView, VariantResult]], records: Mapping[str, Stored]
) -> list[Curve]:
    """Return a curve per dataset and recipe, of the best variant."""
    best: dict[tuple[str, str], tuple[BoardView, VariantResult]] = {}
    for view, entry in used:
        accuracy = entry.values["acc"].mean
        if accuracy is not None:
            names = (view.board.dataset.id, view.board.recipe.name)
            other = best.setdefault(names, (view, entry))[1].values["acc"].mean
            if other is not None and accuracy > other:
                best[names] = (view, entry)
    return [_curve(view, entry, records) for view, entry in best.values()]


def _curve(view: BoardView, entry: VariantResult, records: Mapping[str, Stored]) -> Curve:
    classes = tuple(by_frequency(entry, records))
    order, images = tuple(k for k, _ in classes), tuple(n for _, n in classes)
    theirs = () if entry is view.summary.softmax else view.summary.softmax_classes
    ours, softmax = (
        _binned([values[k] for k in order]) if values else ()
        for values in (per_class_accuracy(entry, records), theirs)
    )
    return Curve(view, entry.variant.label, len(classes), ours, softmax, _binned_images(images))


def _binned(values: Sequence[Fraction]) -> tuple[Fraction, ...]:
    """Return values, or means over neighbors of more than `CURVE_POINTS`."""
    if len(values) <= CURVE_POINTS:
        return tuple(values)
    bins = np.array_split(range(len(values)), CURVE_POINTS)
    return tuple(mean([values[k] for k in members]) for members in bins)


@lru_cache(maxsize=64)  # equal for almost all variants of a board
def _binned_images(counts: tuple[int, ...]) -> tuple[Fraction, ...]:
    return _binned([*map(Fraction, counts)])
