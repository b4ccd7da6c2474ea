"""Figures of a board as data: panels, axes and series.

`drawing` draws them.
"""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ltbench.analysis.metrics import METRICS
from ltbench.analysis.relative_to_baseline import (
    by_frequency,
    per_class_accuracy,
    relative_costs,
)
from ltbench.analysis.result_set import DECIMALS, ResultSet, VariantResult
from ltbench.analysis.significance import compare_with_baseline, find_baseline
from ltbench.config.planning import BASELINE
from ltbench.config.registry import MethodInfo
from ltbench.core.exact import fixed
from ltbench.core.groups import GROUPS, class_groups
from ltbench.report.families import FAMILIES, Family, family_of, listed_method
from ltbench.runs.store import Stored

TEXT, MUTED, RULE, LINK, LOSS = "#1b1f24", "#57606a", "#d5dae0", "#0a58a8", "#9a4600"
"""Colors of the page's light palette."""

SHADES = (TEXT, MUTED, "#a3adb9")
"""Colors of classes with many, medium and few images."""

LABEL_LENGTH = 28
CLASS_LENGTH = 16
MAX_CLASSES = 20
"""Classes up to which an axis names them."""

MAX_NAMED = 3
"""Points of a scatter plot that are named."""

Numbers = tuple[Fraction, ...]
Mark = Literal["points", "line", "steps", "bars", "area", "level", "position"]
Scale = Literal["linear", "integers", "times", "images", "none"]


@dataclass(frozen=True)
class Axis:
    """An axis; `times` and `images` are logarithmic, `none` has no ticks.

    With `names`, these are the ticks at 0, 1, 2.
    """

    label: str
    scale: Scale = "linear"
    limits: tuple[int, int] | None = None
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Series:
    """A series of numbers, drawn with one mark.

    Attributes:
        mark: an `area` belongs to the right axis, a `level` is a horizontal line, a `position` a
            vertical one.
        x, y: one number per point; a level has no x, a position no y.
        color: of light pages.
        label: in the legend; empty for none.
        marker: of points, matplotlib's.
        dashed: whether a line or a level is dashed.
        spread: deviation of each y, empty for none.
    """

    mark: Mark
    x: Numbers
    y: Numbers
    color: str
    label: str = ""
    marker: str = ""
    dashed: bool = False
    spread: Numbers = ()


@dataclass(frozen=True)
class Name:
    """A text next to a point, dropped if it overlaps another."""

    text: str
    x: Fraction
    y: Fraction


@dataclass(frozen=True)
class Panel:
    """Axes with series in drawing order; `right` is a second y axis."""

    x: Axis
    y: Axis
    series: tuple[Series, ...]
    names: tuple[Name, ...] = ()
    title: str = ""
    right: Axis | None = None


@dataclass(frozen=True)
class Figure:
    """A figure of a board.

    Attributes:
        board: grid and board.
        name: unique on the board.
        title, text: heading and summary.
        size: in inches.
        panels: side by side; with one y scale if `shared`.
    """

    board: str
    name: str
    title: str
    text: str
    size: tuple[float, float]
    panels: tuple[Panel, ...]
    shared: bool = False

    @property
    def numbers_hash(self) -> str:
        """Hash of all numbers and texts (start of a SHA-256)."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Data:
    """Data of a board's figures: variants with the most seeds."""

    board: ResultSet
    methods: Mapping[str, MethodInfo]
    records: Mapping[str, Stored]
    entries: tuple[VariantResult, ...]

    @property
    def softmax(self) -> VariantResult | None:
        """Softmax, None if it has fewer seeds than others."""
        softmax = find_baseline(self.board, BASELINE)
        return softmax if softmax in self.entries else None

    def family(self, entry: VariantResult) -> Family:
        return family_of(listed_method(entry, self.methods), self.methods)

    def class_axis(self, panels: int = 1) -> Axis:
        """Return the axis of classes by frequency, named if names fit.

        Args:
            panels: side by side, which share the width.
        """
        classes = by_frequency(self.entries[0], self.records)
        if len(classes) * panels > MAX_CLASSES:
            return Axis("class, the most frequent first", "integers")
        names = self.records[self.entries[0].values["acc"].keys[0]].record.split.classes
        ticks = tuple(_short(names[k], CLASS_LENGTH) for k, _ in classes)
        return Axis("class, the most frequent first", names=ticks)

    def leaders(self) -> list[VariantResult]:
        """Return the most accurate variant of each family but the baseline's."""
        best: dict[Family, VariantResult] = {}
        for entry in self.entries:
            family = self.family(entry)
            if family.key != "baseline" and _acc(entry) > _acc(best.get(family)):
                best[family] = entry
        return [best[family] for family in FAMILIES.values() if family in best]

    def points(self, points: Sequence[tuple[Fraction, Fraction, VariantResult]]) -> list[Series]:
        """Return points (x, y) as series by family, the baseline last."""
        by_family: dict[Family, list[tuple[Fraction, Fraction]]] = {}
        for x, y, entry in points:
            by_family.setdefault(self.family(entry), []).append((x, y))
        baseline, *others = FAMILIES.values()
        return [
            Series(
                "points", *_columns(by_family[family]), family.color, family.title, family.marker
            )
            for family in (*others, baseline)
            if family in by_family
        ]


FigureContent = tuple[str, list[Panel]]
"""Summary and panels of a figure."""


def figures_of(
    board: ResultSet, methods: Mapping[str, MethodInfo], records: Mapping[str, Stored]
) -> list[Figure]:
    """Return the figures of a board's variants with the most seeds."""
    seeds = max((entry.values["acc"].n for entry in board.entries), default=0)
    if seeds == 0:
        return []
    entries = tuple(entry for entry in board.entries if entry.values["acc"].n == seeds)
    data, key = _Data(board, methods, records, entries), f"{board.grid}, {board.id}"
    planned = len(board.seeds)
    remark = f" {seeds} of {planned} seeds." if seeds < planned else ""
    figures = []
    for name, (title, height, make) in FIGURES.items():
        if (content := make(data)) is not None:
            text, panels = content
            figure = Figure(
                board=key,
                name=name,
                title=title,
                text=text + remark,
                size=(6.4, height),
                panels=tuple(panels),
                shared=name == "gains",
            )
            figures.append(figure)
    return figures


def _cost(data: _Data) -> FigureContent | None:
    """Show accuracy against training cost, with the Pareto front."""
    costs = relative_costs(data.board, data.methods, data.records)
    points = [
        (costs[label].ratio, _acc(e), e)
        for e in data.entries
        if (label := e.variant.label) in costs
    ]
    if len(points) < 2:
        return None
    front: list[tuple[Fraction, Fraction, VariantResult]] = []
    for ratio, acc, entry in sorted(points, key=lambda point: (point[0], -point[1])):
        if not front or acc > front[-1][1]:
            front.append((ratio, acc, entry))
    ratio, acc, best = front[-1]
    steps = [*((x, y) for x, y, _ in front), (max(x for x, *_ in points), acc)]
    bars = [
        Series("points", (x,), (y,), RULE, spread=(std,))
        for x, y, entry in points
        if (std := entry.values["acc"].std)
    ]
    named = front[: -MAX_NAMED - 1 : -1]
    named += [point for point in points if point[-1] is data.softmax and point not in named]
    panel = Panel(
        x=Axis("training FLOPs relative to softmax", "times"),
        y=Axis("Acc (%)"),
        series=(*bars, Series("steps", *_columns(steps), MUTED), *data.points(points)),
        names=tuple(Name(_label(entry), x, y) for x, y, entry in named),
    )
    text = (
        f"{_label(best)} has the highest accuracy, at {fixed(ratio, 1)} times the training FLOPs "
        "of softmax."
    )
    return text, [panel]


def _trade_off(data: _Data) -> FigureContent | None:
    """Show accuracy on few-shot against accuracy on many-shot classes."""
    points = [
        (many, few, entry)
        for entry in data.entries
        if (many := entry.values["many"].mean) is not None
        and (few := entry.values["few"].mean) is not None
    ]
    if len(points) < 2:
        return None
    softmax = [(many, few) for many, few, entry in points if entry is data.softmax]
    lines = [
        line
        for many, few in softmax
        for line in (Series("position", (many,), (), RULE), Series("level", (), (few,), RULE))
    ]
    top = sorted(points, key=lambda point: -point[1])[:MAX_NAMED]
    panel = Panel(
        x=Axis("accuracy on many-shot classes (%)"),
        y=Axis("on few-shot classes (%)"),
        series=(*lines, *data.points(points)),
        names=tuple(Name(_label(entry), x, y) for x, y, entry in top),
    )
    many, few, best = top[0]
    text = f"{_label(best)} has the highest accuracy on few-shot classes, {_percent(few)} %"
    if not softmax or best is data.softmax:
        return f"{text}, and {_percent(many)} % on many-shot classes.", [panel]
    lost = softmax[0][0] - many
    text += (
        f"; on many-shot classes it is {_percent(abs(lost))} points "
        f"{'below' if lost > 0 else 'above'} softmax."
    )
    return text, [panel]


def _by_year(data: _Data) -> FigureContent | None:
    """Show accuracy and RA by year and family (survey, Fig. 4)."""
    dated = [
        (info.paper.year, entry)
        for entry in data.entries
        if (info := data.methods.get(entry.variant.method)) is not None
        and info.paper is not None
        and entry is not data.softmax
    ]
    if len({year for year, _ in dated}) < 2:
        return None
    has_ra = any(entry.values["ra"].state == "complete" for _, entry in dated)
    panels = []
    for metric in ("acc", "ra") if has_ra else ("acc",):
        points = [
            (Fraction(year), value.mean, entry)
            for year, entry in dated
            if (value := entry.values[metric]).state == "complete" and value.mean is not None
        ]
        level = None if data.softmax is None else data.softmax.values[metric].mean
        series = data.points(points)
        if level is not None:
            series.append(Series("level", (), (level,), MUTED, "softmax", dashed=True))
        year_axis = Axis("year of the paper", "integers")
        panels.append(Panel(year_axis, Axis(f"{METRICS[metric].title} (%)"), tuple(series)))
    year, best = max(dated, key=lambda pair: _acc(pair[1]))
    return f"{_label(best)} ({year}) reaches {_percent(_acc(best))} % accuracy.", panels


def _curves(data: _Data) -> FigureContent:
    """Show accuracy by class frequency for softmax and each family's best."""
    classes = by_frequency(data.entries[0], data.records)
    ranks = _numbers(range(len(classes)))
    series = [Series("area", ranks, _numbers(n for _, n in classes), RULE)]
    for entry in (data.softmax, *data.leaders()):
        if entry is not None:
            accuracy = per_class_accuracy(entry, data.records)
            is_softmax = entry is data.softmax
            color, label = data.family(entry).color, _label(entry)
            accuracies = tuple(accuracy[k] for k, _ in classes)
            style = (MUTED, "softmax") if is_softmax else (color, label)
            series.append(Series("line", ranks, accuracies, *style, dashed=is_softmax))
    panel = Panel(
        x=data.class_axis(),
        y=Axis("accuracy (%)", limits=(0, 100)),
        series=tuple(series),
        right=Axis("training images", "images"),
    )
    text = (
        f"The best variant of each family on {len(classes)} classes, softmax dashed; the area is "
        "the number of training images."
    )
    return text, [panel]


def _gains(data: _Data) -> FigureContent | None:
    """Show the per-class gain over softmax of each family's best."""
    softmax, leaders = data.softmax, data.leaders()
    if softmax is None or not leaders:
        return None
    order = [k for k, _ in by_frequency(softmax, data.records)]
    theirs = per_class_accuracy(softmax, data.records)
    axis = data.class_axis(len(leaders))
    if not axis.names:
        axis = Axis("head to tail", "none")
    panels: list[Panel] = []
    for entry in leaders:
        ours = per_class_accuracy(entry, data.records)
        gains = [(Fraction(i), ours[k] - theirs[k]) for i, k in enumerate(order)]
        signs = ((LINK, [g for g in gains if g[1] >= 0]), (LOSS, [g for g in gains if g[1] < 0]))
        bars = (Series("bars", *_columns(points), color) for color, points in signs if points)
        panels.append(
            Panel(
                x=axis,
                y=Axis("" if panels else "points over softmax"),
                series=(*bars, Series("level", (), (Fraction(0),), MUTED)),
                title=_label(entry),
            )
        )
    over_softmax = compare_with_baseline(data.board, data.records)
    overall = [
        f"{_label(entry)} {_percent(over_softmax[entry.variant.label].difference, '+')}"
        for entry in leaders
        if entry.variant.label in over_softmax
    ]
    if not overall:
        return "No variant has a seed in common with softmax.", panels
    return f"Gain in overall accuracy: {', '.join(overall)} points.", panels


def _split(data: _Data) -> FigureContent:
    """Show the number of training images of each class."""
    classes = by_frequency(data.entries[0], data.records)
    counts = [n for _, n in sorted(classes)]
    groups = class_groups(counts, data.board.dataset.shot_rule)
    series = []
    for group, shade in zip(GROUPS, SHADES, strict=True):
        points = [
            (Fraction(i), Fraction(n)) for i, (k, n) in enumerate(classes) if groups[k] == group
        ]
        if points:
            label = f"{group}: {len(points)} classes"
            series.append(Series("bars", *_columns(points), shade, label))
    x, y = data.class_axis(), Axis("training images", "images")
    text = (
        f"{sum(counts):,} images of {len(counts)} classes, {max(counts):,} to {min(counts):,} per "
        "class."
    )
    return text, [Panel(x, y, tuple(series))]


FIGURES: dict[str, tuple[str, float, Callable[[_Data], FigureContent | None]]] = {
    "cost": ("Accuracy against training cost", 4.0, _cost),
    "trade-off": ("Head against tail", 4.0, _trade_off),
    "by-year": ("Accuracy by year", 4.0, _by_year),
    "curves": ("Accuracy by class frequency", 4.0, _curves),
    "gains": ("Gain over softmax by class", 3.0, _gains),
    "split": ("Training images", 3.0, _split),
}
"""Title, height in inches and content, by name."""


def _acc(entry: VariantResult | None) -> Fraction:
    return Fraction(-1) if entry is None else entry.values["acc"].mean or Fraction(0)


def _percent(number: Fraction, flags: str = "") -> str:
    return fixed(number, DECIMALS, flags)


def _label(entry: VariantResult) -> str:
    return _short(entry.variant.label, LABEL_LENGTH)


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else f"{text[: length - 1]}\N{HORIZONTAL ELLIPSIS}"


def _numbers(numbers: Iterable[int]) -> Numbers:
    return tuple(map(Fraction, numbers))


def _columns(points: Sequence[tuple[Fraction, Fraction]]) -> tuple[Numbers, Numbers]:
    """Return the x and y values of points."""
    return tuple(x for x, _ in points), tuple(y for _, y in points)
