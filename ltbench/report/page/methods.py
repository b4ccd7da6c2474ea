"""A method's section: its paper, definition, hyper-parameters, its cells, its per-class curve."""

import ast
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np

from ltbench.analysis.beside_softmax import by_frequency, class_accuracy, gain
from ltbench.analysis.board import Entry
from ltbench.analysis.significance import find_plain
from ltbench.config.catalogue import CATALOGUE, MethodInfo
from ltbench.config.expand import BASELINE
from ltbench.core.exact import mean
from ltbench.report.families import FAMILIES, Family, family_of
from ltbench.report.page.cells import Shown, show, signed
from ltbench.report.page.groups import Group
from ltbench.report.tables import Cell
from ltbench.runs.store import Stored

CURVE_POINTS = 60
"""At most; of more classes neighbours in frequency are averaged."""


@dataclass(frozen=True)
class Hyper:
    """A hyper-parameter."""

    name: str
    default: str
    meaning: str


@dataclass(frozen=True)
class Own:
    """A variant of the method in a group."""

    group: Group
    entry: Entry
    settings: str
    cells: tuple[Shown, ...]
    command: str


@dataclass(frozen=True)
class Curve:
    """Accuracy of classes in percent, the most frequent first, softmax's and their training images.

    `classes` is how many classes there are; points of more than `CURVE_POINTS` are means.
    """

    group: Group
    label: str
    classes: int
    ours: tuple[Fraction, ...]
    softmax: tuple[Fraction, ...]
    images: tuple[Fraction, ...]


@dataclass(frozen=True)
class MethodSection:
    """A method on the page; `info` is None of a method that is not installed here."""

    key: str
    title: str
    family: Family
    info: MethodInfo | None
    definition: str
    hyper: tuple[Hyper, ...]
    cells: tuple[Own, ...]
    curves: tuple[Curve, ...]


def method_sections(
    groups: Sequence[Group], methods: Mapping[str, MethodInfo], records: Mapping[str, Stored]
) -> list[MethodSection]:
    """Return a section for each method that a group has, by family, then as in the catalogue."""
    used: dict[str, list[tuple[Group, Entry]]] = {}
    for group in groups:
        for entry in group.board.entries:
            used.setdefault(entry.variant.method, []).append((group, entry))
    order = [*(key for key in methods if key in used), *(key for key in used if key not in methods)]
    sections = [_section(key, used[key], methods, records) for key in order]
    families = list(FAMILIES.values())
    return sorted(sections, key=lambda section: families.index(section.family))


def _section(
    key: str,
    used: Sequence[tuple[Group, Entry]],
    methods: Mapping[str, MethodInfo],
    records: Mapping[str, Stored],
) -> MethodSection:
    info = methods.get(key)
    return MethodSection(
        key=key,
        title=info.title if info else key,
        family=family_of(key, methods),
        info=info,
        definition=_definition(info) if info else "",
        hyper=_hyper(info) if info else (),
        cells=tuple(_own(group, entry) for group, entry in used),
        curves=tuple(_curves(used, records)),
    )


def _definition(info: MethodInfo) -> str:
    """Return what the method's file says of it; the file is parsed, never run."""
    path = CATALOGUE.parent / info.family / f"{info.key}.py"
    if not path.is_file():
        return ""
    return ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""


def _hyper(info: MethodInfo) -> tuple[Hyper, ...]:
    schemas: dict[str, dict[str, object]] = info.hyper.get("properties", {})
    return tuple(
        Hyper(
            name=name,
            default=json.dumps(schema["default"]) if "default" in schema else "",
            meaning=str(schema.get("description", "")),
        )
        for name, schema in schemas.items()
    )


def _own(group: Group, entry: Entry) -> Own:
    variant, values = entry.variant, entry.values
    settings = [f"{name} {json.dumps(value)}" for name, value in variant.hyper.items()]
    if variant.start_from is not None:
        settings.append(f"from {variant.start_from}")
    if variant.recipe is not None:
        settings.append(f"recipe {variant.recipe}")
    points = gain(entry, find_plain(group.board, BASELINE))
    ours = Shown("n/a", state="not available")
    if points is not None:
        ours = Shown(signed(points), sort=points, state=values["acc"].state)
    shown = (show(Cell(value=values[name])) for name in ("ra", "many", "medium", "few"))
    return Own(
        group=group,
        entry=entry,
        settings=", ".join(settings),
        cells=(show(Cell(value=values["acc"])), ours, *shown),
        command=f"ltbench run --grid {group.board.grid} --only variant={variant.method}",
    )


def _curves(used: Sequence[tuple[Group, Entry]], records: Mapping[str, Stored]) -> list[Curve]:
    """Return a curve for each dataset and recipe, of the variant that does best there."""
    best: dict[tuple[str, str], tuple[Group, Entry]] = {}
    for group, entry in used:
        accuracy = entry.values["acc"].mean
        if accuracy is not None:
            place = (group.board.dataset.id, group.board.recipe.name)
            other = best.setdefault(place, (group, entry))[1].values["acc"].mean
            if other is not None and accuracy > other:
                best[place] = (group, entry)
    return [_curve(group, entry, records) for group, entry in best.values()]


def _curve(group: Group, entry: Entry, records: Mapping[str, Stored]) -> Curve:
    classes = by_frequency(entry, records)
    bins = np.array_split([k for k, _ in classes], min(len(classes), CURVE_POINTS))
    images = [Fraction(n) for _, n in sorted(classes)]
    plain = find_plain(group.board, BASELINE)
    softmax = list[Fraction]()
    if plain is not None and plain is not entry and plain.values["acc"].keys:
        softmax = class_accuracy(plain, records)
    ours, theirs, sizes = (
        tuple(mean([values[k] for k in part]) for part in bins) if values else ()
        for values in (class_accuracy(entry, records), softmax, images)
    )
    return Curve(group, entry.variant.label, len(classes), ours, theirs, sizes)
