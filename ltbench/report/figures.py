"""Figures of a board as numbers: axes, series, names and a sentence; `drawing` draws them."""

import hashlib
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Literal

from ltbench.analysis.metrics import METRICS
from ltbench.analysis.relative_to_baseline import by_frequency, class_accuracy, gain, relative_costs
from ltbench.analysis.result_set import DECIMALS, ResultSet, VariantResult
from ltbench.analysis.significance import find_baseline
from ltbench.config.planning import BASELINE
from ltbench.config.registry import MethodInfo
from ltbench.core.exact import fixed
from ltbench.core.groups import GROUPS, class_groups
from ltbench.report.families import FAMILIES, Family, family_of
from ltbench.runs.store import Stored

TEXT, MUTED, RULE, LINK, LOSS = "#1b1f24", "#57606a", "#d5dae0", "#0a58a8", "#9a4600"
"""Colors of the page's light palette."""

SHADES = (TEXT, MUTED, "#a3adb9")
"""Of classes with many, medium and few images."""

LABEL_LENGTH = 28
NAMED = 3
"""Points of a crowd that are named, at most."""

Numbers = tuple[Fraction, ...]
Mark = Literal["points", "line", "steps", "bars", "area", "level", "position"]
Scale = Literal["linear", "integers", "times", "images", "none"]


@dataclass(frozen=True)
class Axis:
    """An axis; `times` and `images` are logarithmic, `none` has no ticks; `limits` are its ends."""

    label: str
    scale: Scale = "linear"
    limits: tuple[int, int] | None = None


@dataclass(frozen=True)
class Series:
    """Numbers that are drawn alike.

    Attributes:
        mark: how; an `area` belongs to the axis on the right, a `level` is a horizontal line, a
            `position` a vertical one.
        x, y: one number a point; a level has no x, a position no y.
        color: as of light pages.
        label: what a legend calls it; nothing is not in the legend.
        marker: of points, matplotlib's.
        dashed: of a line or a level.
        spread: deviation of each y; empty where there are none.
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
    """A text beside a point; left out where it would cover one before it."""

    text: str
    x: Fraction
    y: Fraction


@dataclass(frozen=True)
class Panel:
    """Axes, and what is drawn in them, the lowest first; `right` is a second vertical axis."""

    x: Axis
    y: Axis
    series: tuple[Series, ...]
    names: tuple[Name, ...] = ()
    title: str = ""
    right: Axis | None = None


@dataclass(frozen=True)
class Figure:
    """What a figure shows.

    Attributes:
        board: grid and board.
        name: tells the figures of a board apart.
        title, text: its heading, and what there is to see.
        size: in inches.
        panels: side by side; they share one vertical scale if `shared`.
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
        """The start of a SHA-256 of all that is shown: equal for equal figures."""
        return hashlib.sha256(repr(self).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class _Data:
    """What the figures of a board show: variants that have all their seeds."""

    board: ResultSet
    methods: Mapping[str, MethodInfo]
    records: Mapping[str, Stored]
    entries: tuple[VariantResult, ...]

    @property
    def plain(self) -> VariantResult | None:
        """Softmax, where it has all its seeds."""
        plain = find_baseline(self.board, BASELINE)
        return plain if plain in self.entries else None

    def family(self, entry: VariantResult) -> Family:
        return family_of(entry.variant.method, self.methods)

    def leaders(self) -> list[VariantResult]:
        """Return the best of each family but softmax's, in the order of families."""
        best: dict[Family, VariantResult] = {}
        for entry in self.entries:
            family = self.family(entry)
            if family.key != "baseline" and _acc(entry) > _acc(best.get(family)):
                best[family] = entry
        return [best[family] for family in FAMILIES.values() if family in best]

    def points(self, found: Sequence[tuple[Fraction, Fraction, VariantResult]]) -> list[Series]:
        """Return points, x and y, as a series for each family."""
        by_family: dict[Family, list[tuple[Fraction, Fraction]]] = {}
        for x, y, entry in found:
            by_family.setdefault(self.family(entry), []).append((x, y))
        return [
            Series(
                "points", *_columns(by_family[family]), family.color, family.title, family.marker
            )
            for family in FAMILIES.values()
            if family in by_family
        ]


Shown = tuple[str, list[Panel]]
"""What there is to see, and where."""


def figures_of(
    board: ResultSet, methods: Mapping[str, MethodInfo], records: Mapping[str, Stored]
) -> list[Figure]:
    """Return the figures of a board, of its variants that have all their seeds."""
    entries = tuple(e for e in board.entries if e.values["acc"].state == "complete")
    if not entries:
        return []
    data, key = _Data(board, methods, records, entries), f"{board.grid}, {board.id}"
    return [
        Figure(key, name, title, shown[0], (6.4, height), tuple(shown[1]), name == "gains")
        for name, (title, height, show) in FIGURES.items()
        if (shown := show(data)) is not None
    ]


def _cost(data: _Data) -> Shown | None:
    """Show accuracy against training cost, with the front that nothing beats on both."""
    costs = relative_costs(data.board, data.methods, data.records)
    priced = [
        (costs[label].ratio, _acc(e), e)
        for e in data.entries
        if (label := e.variant.label) in costs
    ]
    if len(priced) < 2:
        return None
    front: list[tuple[Fraction, Fraction, VariantResult]] = []
    for ratio, acc, entry in sorted(priced, key=lambda point: (point[0], -point[1])):
        if not front or acc > front[-1][1]:
            front.append((ratio, acc, entry))
    ratio, acc, best = front[-1]
    steps = [*((x, y) for x, y, _ in front), (max(x for x, *_ in priced), acc)]
    bars = [
        Series("points", (x,), (y,), RULE, spread=(std,))
        for x, y, entry in priced
        if (std := entry.values["acc"].std)
    ]
    panel = Panel(
        x=Axis("training cost over softmax's", "times"),
        y=Axis("Acc (%)"),
        series=(*bars, Series("steps", *_columns(steps), MUTED), *data.points(priced)),
        names=tuple(Name(_label(entry), x, y) for x, y, entry in front[: -NAMED - 1 : -1]),
    )
    text = (
        f"{_label(best)} has the highest accuracy, at {fixed(ratio, 1)} times the cost of softmax."
    )
    return text, [panel]


def _trade_off(data: _Data) -> Shown | None:
    """Show accuracy on classes with few images against that on classes with many."""
    points = [
        (many, few, entry)
        for entry in data.entries
        if (many := entry.values["many"].mean) is not None
        and (few := entry.values["few"].mean) is not None
    ]
    if len(points) < 2:
        return None
    plain = [(many, few) for many, few, entry in points if entry is data.plain]
    lines = [
        line
        for many, few in plain
        for line in (Series("position", (many,), (), RULE), Series("level", (), (few,), RULE))
    ]
    first = sorted(points, key=lambda point: -point[1])[:NAMED]
    panel = Panel(
        x=Axis("classes with many images: accuracy (%)"),
        y=Axis("with few (%)"),
        series=(*lines, *data.points(points)),
        names=tuple(Name(_label(entry), x, y) for x, y, entry in first),
    )
    many, few, best = first[0]
    if not plain or best is data.plain:
        text = f"{_label(best)} has {_percent(few)} % on few and {_percent(many)} % on many."
        return text, [panel]
    lost = plain[0][0] - many
    text = (
        f"{_label(best)} gets most of the classes with few images, {_percent(few)} %, and "
        f"{_percent(abs(lost))} points {'less' if lost > 0 else 'more'} than softmax of those with "
        "many."
    )
    return text, [panel]


def _by_year(data: _Data) -> Shown | None:
    """Show accuracy and RA by year and family, softmax as a line: Fig. 4 of the survey."""
    dated = [
        (info.paper.year, entry)
        for entry in data.entries
        if (info := data.methods.get(entry.variant.method)) is not None
        and info.paper is not None
        and entry is not data.plain
    ]
    if len({year for year, _ in dated}) < 2:
        return None
    related = any(entry.values["ra"].state == "complete" for _, entry in dated)
    panels = []
    for metric in ("acc", "ra") if related else ("acc",):
        points = [
            (Fraction(year), value.mean, entry)
            for year, entry in dated
            if (value := entry.values[metric]).state == "complete" and value.mean is not None
        ]
        level = None if data.plain is None else data.plain.values[metric].mean
        series = data.points(points)
        if level is not None:
            series.append(Series("level", (), (level,), MUTED, "softmax", dashed=True))
        year_axis = Axis("year of the paper", "integers")
        panels.append(Panel(year_axis, Axis(f"{METRICS[metric].title} (%)"), tuple(series)))
    year, best = max(dated, key=lambda pair: _acc(pair[1]))
    return f"{_label(best)} ({year}) reaches {_percent(_acc(best))} % accuracy.", panels


def _curves(data: _Data) -> Shown:
    """Show the accuracy of classes by frequency: softmax, and the best of each family."""
    classes = by_frequency(data.entries[0], data.records)
    places = _numbers(range(len(classes)))
    series = [Series("area", places, _numbers(n for _, n in classes), RULE)]
    for entry in (data.plain, *data.leaders()):
        if entry is not None:
            accuracy = class_accuracy(entry, data.records)
            plain = entry is data.plain
            color, label = data.family(entry).color, _label(entry)
            ours = tuple(accuracy[k] for k, _ in classes)
            look = (MUTED, "softmax") if plain else (color, label)
            series.append(Series("line", places, ours, *look, dashed=plain))
    panel = Panel(
        x=Axis("class, the most frequent first", "integers"),
        y=Axis("accuracy (%)", limits=(0, 100)),
        series=tuple(series),
        right=Axis("training images", "images"),
    )
    text = f"The best of each family on {len(classes)} classes, softmax dashed; the area is images."
    return text, [panel]


def _gains(data: _Data) -> Shown | None:
    """Show what the best of each family gains on each class over softmax."""
    plain, leaders = data.plain, data.leaders()
    if plain is None or not leaders:
        return None
    order = [k for k, _ in by_frequency(plain, data.records)]
    softmax = class_accuracy(plain, data.records)
    panels: list[Panel] = []
    words = []
    for entry in leaders:
        ours = class_accuracy(entry, data.records)
        gains = [(Fraction(i), ours[k] - softmax[k]) for i, k in enumerate(order)]
        signs = ((LINK, [g for g in gains if g[1] >= 0]), (LOSS, [g for g in gains if g[1] < 0]))
        bars = (Series("bars", *_columns(found), color) for color, found in signs if found)
        panels.append(
            Panel(
                x=Axis("head to tail", "none"),
                y=Axis("" if panels else "points over softmax"),
                series=(*bars, Series("level", (), (Fraction(0),), MUTED)),
                title=_label(entry),
            )
        )
        words.append(f"{_label(entry)} {_percent(gain(entry, plain) or Fraction(0), '+')}")
    return f"Of accuracy in all: {', '.join(words)} points.", panels


def _split(data: _Data) -> Shown:
    """Show how many training images each class has."""
    classes = by_frequency(data.entries[0], data.records)
    counts = [n for _, n in sorted(classes)]
    groups = class_groups(counts, data.board.dataset.shot_rule)
    series = []
    for group, shade in zip(GROUPS, SHADES, strict=True):
        found = [
            (Fraction(i), Fraction(n)) for i, (k, n) in enumerate(classes) if groups[k] == group
        ]
        if found:
            label = f"{group}: {len(found)} classes"
            series.append(Series("bars", *_columns(found), shade, label))
    x, y = Axis("class, the most frequent first", "integers"), Axis("training images", "images")
    most, least = max(counts), min(counts)
    text = (
        f"{sum(counts):,} images of {len(counts)} classes, {most:,} of one to {least:,} of another."
    )
    return text, [Panel(x, y, tuple(series))]


FIGURES: dict[str, tuple[str, float, Callable[[_Data], Shown | None]]] = {
    "cost": ("Accuracy against training cost", 4.0, _cost),
    "trade-off": ("Head against tail", 4.0, _trade_off),
    "by-year": ("Accuracy and relative accuracy by year", 4.0, _by_year),
    "curves": ("Accuracy by class frequency", 4.0, _curves),
    "gains": ("Gain over softmax by class", 3.0, _gains),
    "split": ("Training images", 3.0, _split),
}
"""Title, height in inches, and what is shown, by name."""


def _acc(entry: VariantResult | None) -> Fraction:
    return Fraction(-1) if entry is None else entry.values["acc"].mean or Fraction(0)


def _percent(number: Fraction, flags: str = "") -> str:
    return fixed(number, DECIMALS, flags)


def _label(entry: VariantResult) -> str:
    label = entry.variant.label
    if len(label) <= LABEL_LENGTH:
        return label
    return f"{label[: LABEL_LENGTH - 1]}\N{HORIZONTAL ELLIPSIS}"


def _numbers(numbers: Iterable[int]) -> Numbers:
    return tuple(map(Fraction, numbers))


def _columns(points: Sequence[tuple[Fraction, Fraction]]) -> tuple[Numbers, Numbers]:
    """Return the x and the y of points."""
    return tuple(x for x, _ in points), tuple(y for _, y in points)
