"""Figures of a board, drawn with matplotlib: equal records give equal bytes.

Drawings are SVG with text as text, in the colours of the page's light palette. Matplotlib is the
extra `plots`, and is only imported where something is drawn.
"""

import hashlib
import importlib.util
import io
import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any

from ltbench.analysis.beside_softmax import (
    by_frequency,
    class_accuracy,
    gain,
    relative_costs,
)
from ltbench.analysis.board import DECIMALS, TITLES, Board, Entry, Metric
from ltbench.analysis.significance import find_plain
from ltbench.config.catalogue import MethodInfo
from ltbench.config.expand import BASELINE
from ltbench.core.exact import fixed
from ltbench.core.groups import GROUPS, class_groups
from ltbench.report.families import FAMILIES, Family, family_of
from ltbench.runs.store import Stored

TEXT, MUTED, RULE, LINK, LOSS = "#1b1f24", "#57606a", "#d5dae0", "#0a58a8", "#9a4600"
NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
PNG = ("cost",)
"""Figures that a README can show."""

STYLE = {
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.sans-serif": ["DejaVu Sans"],
    "font.size": 9,
    "text.parse_math": False,
    "text.color": TEXT,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": TEXT,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "legend.fontsize": 8,
}
SMALL = {"fontsize": 8, "color": MUTED, "va": "bottom"}
LABEL_LENGTH = 28
NAMED = 3
"""Points of a crowd that are labelled, at most."""
TICKS = (0.1, 0.2, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50)
LINE = 0.05
"""Height of a label, as a share of a drawing's."""


@dataclass(frozen=True)
class Figure:
    """A drawing: its name, what it shows and what there is to see, as SVG; some as PNG too."""

    name: str
    title: str
    text: str
    svg: str
    png: bytes | None = None


@dataclass(frozen=True)
class _Data:
    """What the figures of a board are drawn from: variants that ran, and what each is."""

    board: Board
    methods: Mapping[str, MethodInfo]
    records: Mapping[str, Stored]
    entries: tuple[Entry, ...]

    def family(self, entry: Entry) -> Family:
        return family_of(entry.variant.method, self.methods)

    def leaders(self) -> list[Entry]:
        """Return the best of each family but softmax's, in the order of families."""
        best: dict[Family, Entry] = {}
        for entry in self.entries:
            family = self.family(entry)
            if family.key != "baseline" and _acc(entry) > _acc(best.get(family)):
                best[family] = entry
        return [best[family] for family in FAMILIES.values() if family in best]


Drawing = Callable[[Any, _Data], str | None]
"""Draws into a matplotlib figure and says what there is to see; None where there is nothing."""


def can_draw() -> bool:
    """Return whether matplotlib is there."""
    return importlib.util.find_spec("matplotlib") is not None


def draw_figures(
    board: Board, methods: Mapping[str, MethodInfo], records: Mapping[str, Stored]
) -> list[Figure]:
    """Return the figures of a board, of its variants that have all their seeds.

    Raises:
        ModuleNotFoundError: without matplotlib.
    """
    entries = tuple(e for e in board.entries if e.values["acc"].state == "complete")
    if not entries:
        return []
    data = _Data(board, methods, records, entries)
    drawn = (_draw(name, title, size, draw, data) for name, (title, size, draw) in FIGURES.items())
    return [figure for figure in drawn if figure is not None]


def _draw(
    name: str, title: str, size: tuple[float, float], draw: Drawing, data: _Data
) -> Figure | None:
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    board = data.board
    salt = f"{board.grid} {board.id} {name}"
    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # labels of methods in any script
        mpl.rcdefaults()
        mpl.rcParams.update({**STYLE, "svg.hashsalt": salt})
        canvas = Canvas(figsize=size, layout="constrained")
        text = draw(canvas, data)
        if text is None:
            return None
        svg, png = io.StringIO(), io.BytesIO()
        canvas.savefig(svg, format="svg", transparent=True, metadata=NO_METADATA)
        if name in PNG:
            canvas.savefig(png, format="png", dpi=110, metadata={"Software": None})
    prefix = f"{name}-{hashlib.sha256(salt.encode()).hexdigest()[:6]}"
    return Figure(name, title, text, _tidy(svg.getvalue(), prefix), png.getvalue() or None)


def _tidy(svg: str, prefix: str) -> str:
    """Return a drawing without what no reader needs, whose ids are like no other drawing's."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>|\s*<!--.*?-->", "", svg, flags=re.DOTALL)
    rule = r"\s*<defs>\s*<style type=\"text/css\">\*\{([^}]*)\}</style>\s*</defs>"
    lines = re.search(rule, svg)
    if lines is not None:  # said of all elements of a page otherwise
        svg = re.sub(rule, "", svg, count=1).replace("<svg ", f'<svg style="{lines[1]}" ', 1)
    numbers: dict[str, int] = {}  # for hashes of floats, whose last digits are the processor's

    def numbered(found: re.Match[str]) -> str:
        return f"{found[1]}shape_{numbers.setdefault(found[2], len(numbers) + 1)}"

    svg = re.sub(r'( id="|xlink:href="#|url\(#)([a-zA-Z]+[0-9a-f]{10})\b', numbered, svg)
    svg = re.sub(r'( id="|xlink:href="#|url\(#)', rf"\g<1>{prefix}-", svg)
    return re.sub(r"(?<=\d\.\d\d)\d+", "", svg)


def themed(svg: str) -> str:
    """Return a drawing in the variables of the page's style sheet, so that it follows its theme."""
    variables = {TEXT: "text", MUTED: "muted", RULE: "rule", LINK: "link", LOSS: "loss"}
    variables |= {family.colour: family.key for family in FAMILIES.values()}

    def replaced(style: re.Match[str]) -> str:
        return re.sub(
            "|".join(variables), lambda colour: f"var(--{variables[colour[0]]})", style[0]
        )

    return re.sub(r'style="[^"]*"', replaced, svg)


def _by_year(canvas: Any, data: _Data) -> str | None:
    """Draw accuracy and RA by year and family, softmax as a line: Fig. 4 of the survey."""
    plain = find_plain(data.board, BASELINE)
    dated = []
    for entry in data.entries:
        info = data.methods.get(entry.variant.method)
        if info is not None and info.paper is not None and entry is not plain:
            dated.append((info.paper.year, entry))
    related = [entry for _, entry in dated if entry.values["ra"].state == "complete"]
    if len({year for year, _ in dated}) < 2:
        return None
    panels: list[Metric] = ["acc", "ra"] if related else ["acc"]
    drawn = canvas.subplots(1, len(panels), squeeze=False)[0]
    for axes, metric in zip(drawn, panels, strict=True):
        for year, entry in dated:
            value = entry.values[metric]
            if value.state == "complete" and value.mean is not None:
                _scatter(axes, Fraction(year), value.mean, data.family(entry))
        level = None if plain is None else plain.values[metric].mean
        if level is not None:
            axes.axhline(float(level), color=MUTED, linestyle="--", linewidth=1)
            axes.text(0.01, float(level), "softmax", transform=axes.get_yaxis_transform(), **SMALL)
        axes.set_xlabel("year of the paper")
        axes.set_ylabel(f"{TITLES[metric]} (%)")
        axes.xaxis.get_major_locator().set_params(integer=True)
    _legend(canvas, [data.family(entry) for _, entry in dated])
    year, best = max(dated, key=lambda pair: _acc(pair[1]))
    return f"{_label(best)} ({year}) reaches {_percent(_acc(best))} % accuracy."


def _cost(canvas: Any, data: _Data) -> str | None:
    """Draw accuracy against training cost, with the front that nothing beats on both."""
    costs = relative_costs(data.board, data.methods, data.records)
    priced = [(costs[e.variant.label].ratio, e) for e in data.entries if e.variant.label in costs]
    if len(priced) < 2:
        return None
    axes = canvas.subplots()
    front: list[tuple[Fraction, Entry]] = []
    for ratio, entry in sorted(priced, key=lambda pair: (pair[0], -_acc(pair[1]))):
        if not front or _acc(entry) > _acc(front[-1][1]):
            front.append((ratio, entry))
    steps = [*((r, _acc(e)) for r, e in front), (max(r for r, _ in priced), _acc(front[-1][1]))]
    x, y = (list(map(float, values)) for values in zip(*steps, strict=True))
    axes.step(x, y, where="post", color=MUTED, linewidth=1)
    for ratio, entry in priced:
        spread = entry.values["acc"].std
        if spread:
            at = map(float, (ratio, _acc(entry), spread))
            axes.errorbar(*at, color=RULE, linewidth=1, zorder=0)
        _scatter(axes, ratio, _acc(entry), data.family(entry))
    _times_softmax(axes, [ratio for ratio, _ in priced])
    axes.set_ylabel("Acc (%)")
    _name(axes, [(ratio, _acc(entry), entry) for ratio, entry in front[-NAMED:]])
    _legend(canvas, [data.family(entry) for _, entry in priced])
    ratio, best = front[-1]
    return (
        f"{_label(best)} has the highest accuracy, at {fixed(ratio, 1)} times the cost of softmax."
    )


def _trade_off(canvas: Any, data: _Data) -> str | None:
    """Draw accuracy on classes with few images against that on classes with many."""
    points = [
        (many, few, entry)
        for entry in data.entries
        if (many := entry.values["many"].mean) is not None
        and (few := entry.values["few"].mean) is not None
    ]
    if len(points) < 2:
        return None
    axes = canvas.subplots()
    plain = find_plain(data.board, BASELINE)
    for many, few, entry in points:
        _scatter(axes, many, few, data.family(entry))
        if entry is plain:
            axes.axvline(float(many), color=RULE, linewidth=1, zorder=0)
            axes.axhline(float(few), color=RULE, linewidth=1, zorder=0)
    best = max(points, key=lambda point: point[1])
    _name(axes, sorted(points, key=lambda point: -point[1])[:NAMED])
    axes.set_xlabel("classes with many images: accuracy (%)")
    axes.set_ylabel("with few (%)")
    _legend(canvas, [data.family(entry) for _, _, entry in points])
    if plain is None or best[2] is plain:
        return (
            f"{_label(best[2])} has {_percent(best[1])} % on few and {_percent(best[0])} % on many."
        )
    lost = (plain.values["many"].mean or Fraction(0)) - best[0]
    return (
        f"{_label(best[2])} gets most of the classes with few images, {_percent(best[1])} %, and "
        f"{_percent(abs(lost))} points {'less' if lost > 0 else 'more'} than softmax of those with "
        "many."
    )


def _curves(canvas: Any, data: _Data) -> str | None:
    """Draw the accuracy of classes by frequency: softmax, and the best of each family."""
    classes = by_frequency(data.entries[0], data.records)
    order = [k for k, _ in classes]
    axes = canvas.subplots()
    axes.set_xlabel("class, the most frequent first")
    axes.set_ylabel("accuracy (%)")
    images = axes.twinx()
    sizes = [n for _, n in classes]
    images.fill_between(range(len(order)), sizes, color=RULE, alpha=0.5, linewidth=0)
    _count_images(images)
    images.yaxis.label.set_color(MUTED)
    images.spines["right"].set_visible(True)
    axes.set_zorder(images.get_zorder() + 1)
    axes.patch.set_visible(False)
    plain = find_plain(data.board, BASELINE)
    if plain is not None and plain in data.entries:
        softmax = class_accuracy(plain, data.records)
        axes.plot([float(softmax[k]) for k in order], color=MUTED, linestyle="--", label="softmax")
    for entry in data.leaders():
        ours, colour = class_accuracy(entry, data.records), data.family(entry).colour
        axes.plot([float(ours[k]) for k in order], color=colour, linewidth=1.3, label=_label(entry))
    axes.set_ylim(0, 100)
    axes.xaxis.get_major_locator().set_params(integer=True)
    canvas.legend(loc="outside lower center", ncols=3)
    return f"The best of each family on {len(order)} classes, softmax dashed; the area is images."


def _gains(canvas: Any, data: _Data) -> str | None:
    """Draw what the best of each family gains on each class over softmax."""
    plain, leaders = find_plain(data.board, BASELINE), data.leaders()
    if plain is None or plain not in data.entries or not leaders:
        return None
    order = [k for k, _ in by_frequency(plain, data.records)]
    softmax = class_accuracy(plain, data.records)
    panels = canvas.subplots(1, len(leaders), sharey=True, squeeze=False)[0]
    words = []
    for axes, entry in zip(panels, leaders, strict=True):
        ours = class_accuracy(entry, data.records)
        gains = [float(ours[k] - softmax[k]) for k in order]
        axes.bar(range(len(order)), gains, width=1, color=[LINK if g >= 0 else LOSS for g in gains])
        axes.axhline(0, color=MUTED, linewidth=0.8)
        axes.set_title(_label(entry), fontsize=8)
        axes.set_xticks([])
        axes.set_xlabel("head to tail")
        words.append(f"{_label(entry)} {_percent(gain(entry, plain) or Fraction(0), '+')}")
    panels[0].set_ylabel("points over softmax")
    return f"Of accuracy in all: {', '.join(words)} points."


def _split(canvas: Any, data: _Data) -> str | None:
    """Draw how many training images each class has."""
    classes = by_frequency(data.entries[0], data.records)
    counts = [n for _, n in sorted(classes)]
    groups = class_groups(counts, data.board.dataset.groups)
    axes = canvas.subplots()
    shades = dict(zip(GROUPS, (TEXT, MUTED, "#a3adb9"), strict=True))
    for group in GROUPS:
        places = [(i, n) for i, (k, n) in enumerate(classes) if groups[k] == group]
        if places:
            at, sizes = zip(*places, strict=True)
            axes.bar(at, sizes, width=1, color=shades[group], label=f"{group}: {len(at)} classes")
    axes.set_xlabel("class, the most frequent first")
    axes.xaxis.get_major_locator().set_params(integer=True)
    _count_images(axes)
    canvas.legend(loc="outside lower center", ncols=3)
    most, least = max(counts), min(counts)
    return (
        f"{sum(counts):,} images of {len(counts)} classes, {most:,} of one to {least:,} of another."
    )


FIGURES: dict[str, tuple[str, tuple[float, float], Drawing]] = {
    "cost": ("Accuracy against training cost", (6.4, 4.0), _cost),
    "trade-off": ("Head against tail", (6.4, 4.0), _trade_off),
    "by-year": ("Accuracy and relative accuracy by year", (6.4, 4.0), _by_year),
    "curves": ("Accuracy by class frequency", (6.4, 4.0), _curves),
    "gains": ("Gain over softmax by class", (6.4, 3.0), _gains),
    "split": ("Training images", (6.4, 3.0), _split),
}
"""Title, size in inches, and drawing, by name."""


def _acc(entry: Entry | None) -> Fraction:
    return Fraction(-1) if entry is None else entry.values["acc"].mean or Fraction(0)


def _percent(number: Fraction, flags: str = "") -> str:
    return fixed(number, DECIMALS, flags)


def _label(entry: Entry) -> str:
    label = entry.variant.label
    return (
        label
        if len(label) <= LABEL_LENGTH
        else f"{label[: LABEL_LENGTH - 1]}\N{HORIZONTAL ELLIPSIS}"
    )


def _scatter(axes: Any, x: Fraction, y: Fraction, family: Family) -> None:
    axes.plot(
        float(x), float(y), family.marker, color=family.colour, markersize=5.5, markeredgewidth=0
    )


def _name(axes: Any, points: Sequence[tuple[Fraction, Fraction, Entry]]) -> None:
    """Write labels beside points, on the side where there is room, not over one another."""
    axes.margins(0.12)
    middle = sum(axes.get_xlim()) / 2
    low, high = axes.get_ylim()
    written: list[float] = []
    for across, up, entry in points:
        x, y = float(across), float(up)
        if all(abs(y - other) > LINE * (high - low) for other in written):
            written.append(y)
            right = x <= middle
            axes.annotate(
                *(_label(entry), (x, y), (6 if right else -6, 5)),
                textcoords="offset points",
                ha="left" if right else "right",
                fontsize=8,
            )


def _legend(canvas: Any, families: Sequence[Family]) -> None:
    """Explain the marks in use below a drawing."""
    from matplotlib.lines import Line2D

    handles = [
        Line2D([], [], linestyle="", marker=f.marker, color=f.colour, label=f.title, markersize=5)
        for f in FAMILIES.values()
        if f in families
    ]
    canvas.legend(handles=handles, loc="outside lower center", ncols=3)


def _count_images(axes: Any) -> None:
    """Make the vertical axis one of training images, on a scale of logarithms."""
    from matplotlib.ticker import FuncFormatter, NullFormatter

    axes.set_yscale("log")
    axes.set_ylabel("training images")
    axes.yaxis.set_major_formatter(FuncFormatter(lambda y, _: f"{y:,.0f}"))
    axes.yaxis.set_minor_formatter(NullFormatter())


def _times_softmax(axes: Any, ratios: Sequence[Fraction]) -> None:
    """Make the horizontal axis one of training costs, on a scale of logarithms."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullLocator

    low, high = float(min(ratios)) * 0.8, float(max(ratios)) * 1.25
    axes.set_xscale("log")
    axes.set_xlabel("training cost over softmax's")
    axes.xaxis.set_major_locator(FixedLocator([tick for tick in TICKS if low <= tick <= high]))
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}x"))
