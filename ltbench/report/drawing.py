"""Figures drawn with matplotlib, the extra `plots`, which is imported lazily.

Drawings are SVG with text as text, in the colors of the page's light palette. Each holds a hash of
its numbers, as its bytes change with matplotlib's version.
"""

import importlib.util
import io
import re
import warnings
from collections.abc import Sequence
from typing import Any

from pydantic import BaseModel, ConfigDict

from ltbench.report.families import FAMILIES
from ltbench.report.figures import LINK, LOSS, MUTED, RULE, TEXT, Axis, Figure, Name, Panel, Series

NO_METADATA = {"Date": None, "Creator": None, "Format": None, "Type": None}
PNG = ("cost",)
"""Figures that are drawn as PNG too, for READMEs."""

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
    "axes.titlesize": 8,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "legend.frameon": False,
    "legend.fontsize": 8,
}
TICKS = (0.1, 0.2, 0.5, 0.7, 1, 1.5, 2, 3, 5, 10, 20, 50)
"""Ticks of a `times` axis."""


class Drawing(BaseModel):
    """A figure as SVG, and for some as PNG."""

    model_config = ConfigDict(frozen=True, ser_json_bytes="base64", val_json_bytes="base64")

    svg: str
    png: bytes | None = None


def can_draw() -> bool:
    """Return whether matplotlib is installed."""
    return importlib.util.find_spec("matplotlib") is not None


def draw(figure: Figure) -> Drawing:
    """Draw a figure.

    Raises:
        ModuleNotFoundError: without matplotlib.
    """
    import matplotlib as mpl
    from matplotlib.figure import Figure as Canvas

    with mpl.rc_context(), warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # labels of methods in any script
        mpl.rcdefaults()
        mpl.rcParams.update({**STYLE, "svg.hashsalt": f"{figure.board} {figure.name}"})
        canvas = Canvas(figsize=figure.size, layout="constrained")
        subplots = canvas.subplots(1, len(figure.panels), sharey=figure.shared, squeeze=False)[0]
        legend: dict[str, Any] = {}
        for axes, panel in zip(subplots, figure.panels, strict=True):
            legend |= _draw_panel(axes, panel)
        if legend:
            canvas.legend(legend.values(), legend, loc="outside lower center", ncols=3)
        svg, png = io.StringIO(), io.BytesIO()
        canvas.savefig(svg, format="svg", transparent=True, metadata=NO_METADATA)
        if figure.name in PNG:
            metadata = {"Software": None, "numbers": figure.numbers_hash}
            canvas.savefig(png, format="png", dpi=110, metadata=metadata)
    minified = _minified(svg.getvalue(), figure.numbers_hash)
    return Drawing(svg=minified, png=png.getvalue() or None)


def _draw_panel(axes: Any, panel: Panel) -> dict[str, Any]:
    """Draw a panel into axes; return legend handles by label."""
    legend, right = dict[str, Any](), axes
    if panel.right is not None:
        right = axes.twinx()
        right.yaxis.label.set_color(MUTED)
        right.spines["right"].set_visible(True)
        axes.set_zorder(right.get_zorder() + 1)
        axes.patch.set_visible(False)
    for series in panel.series:
        handle = _draw_series(right if series.mark == "area" else axes, series)
        if series.label:
            legend[series.label] = handle
    axes.set_title(panel.title)
    _set_up(axes, "x", panel.x, panel.series)
    _set_up(axes, "y", panel.y, panel.series)
    if panel.right is not None:
        _set_up(right, "y", panel.right, panel.series)
    _write_names(axes, panel.names)
    return legend


def _draw_series(axes: Any, series: Series) -> Any:
    """Draw a series; return its handle for a legend."""
    x, y, spread = (list(map(float, part)) for part in (series.x, series.y, series.spread))
    look = {"color": series.color, "linestyle": "--" if series.dashed else "-"}
    match series.mark:
        case "points" if spread:
            return axes.errorbar(x, y, spread, color=series.color, fmt="none", lw=1, zorder=0)
        case "points":
            dots = {"marker": series.marker, "markersize": 5.5, "markeredgewidth": 0}
            return axes.plot(x, y, linestyle="", color=series.color, **dots)[0]
        case "line":
            return axes.plot(x, y, linewidth=1.3, **look)[0]
        case "steps":
            return axes.step(x, y, where="post", linewidth=1, **look)[0]
        case "bars":
            return axes.bar(x, y, width=1, color=series.color)
        case "area":
            return axes.fill_between(x, y, color=series.color, alpha=0.5, linewidth=0)
        case "level":
            return axes.axhline(*y, linewidth=1, zorder=1, **look)
        case "position":
            return axes.axvline(*x, linewidth=1, zorder=1, **look)


def _set_up(axes: Any, which: str, axis: Axis, series: Sequence[Series]) -> None:
    """Set label, scale and ticks of the x or y axis."""
    from matplotlib.ticker import FixedLocator, FuncFormatter, NullFormatter, NullLocator

    axes.set(**{f"{which}label": axis.label})
    if axis.limits is not None:
        axes.set(**{f"{which}lim": axis.limits})
    ticks = getattr(axes, f"{which}axis")
    if axis.names:
        ticks.set_ticks(range(len(axis.names)), axis.names)
        axes.tick_params(axis=which, rotation=90 if max(map(len, axis.names)) > 2 else 0)
    match axis.scale:
        case "integers":
            ticks.get_major_locator().set_params(integer=True)
        case "none":
            ticks.set_major_locator(NullLocator())
        case "images":
            axes.set(**{f"{which}scale": "log"})
            ticks.set_major_formatter(FuncFormatter(lambda n, _: f"{n:,.0f}"))
            ticks.set_minor_formatter(NullFormatter())
        case "times":
            axes.set(**{f"{which}scale": "log"})
            numbers = [float(number) for part in series for number in getattr(part, which)]
            low, high = min(numbers) * 0.8, max(numbers) * 1.25
            ticks.set_major_locator(FixedLocator([tick for tick in TICKS if low <= tick <= high]))
            ticks.set_minor_locator(NullLocator())
            ticks.set_major_formatter(FuncFormatter(lambda x, _: f"{x:g}x"))


def _write_names(axes: Any, names: Sequence[Name]) -> None:
    """Write names next to their points, except those that would overlap."""
    if names:
        axes.margins(0.12)
    middle = sum(axes.get_xlim()) / 2
    boxes: list[Any] = []
    for name in names:
        right = name.x <= middle
        text = axes.annotate(
            *(name.text, (float(name.x), float(name.y)), (6 if right else -6, 5)),
            textcoords="offset points",
            ha="left" if right else "right",
            fontsize=8,
        )
        box = text.get_window_extent()
        if any(box.overlaps(other) for other in boxes):
            text.remove()
        else:
            boxes.append(box)


def _minified(svg: str, numbers: str) -> str:
    """Return an SVG on one line, with the hash of its numbers."""
    svg = svg[svg.index("<svg") :]
    svg = re.sub(r"\s*<metadata>.*?</metadata>|\s*<!--.*?-->", "", svg, flags=re.DOTALL)
    rule = r"\s*<defs>\s*<style type=\"text/css\">\*\{([^}]*)\}</style>\s*</defs>"
    style = re.search(rule, svg)
    if style is not None:  # within a page it would apply to all elements
        svg = re.sub(rule, "", svg, count=1).replace("<svg ", f'<svg style="{style[1]}" ', 1)
    used = set(re.findall(r'(?:xlink:href="|url\()#([^")]+)', svg))
    svg = re.sub(r' id="([^"]+)"', lambda found: found[0] if found[1] in used else "", svg)
    svg = svg.replace("<svg ", f'<svg data-numbers="{numbers}" ', 1)
    svg = re.sub(r"\s+", " ", svg).strip().replace("> <", "><")
    return re.sub(r"(?<=\d\.\d\d)\d+", "", svg)


def themed(svg: str) -> str:
    """Return an SVG whose colors are variables of the page's theme."""
    variables = {TEXT: "text", MUTED: "muted", RULE: "rule", LINK: "link", LOSS: "loss"}
    variables |= {family.color: family.key for family in FAMILIES.values()}

    def replaced(style: re.Match[str]) -> str:
        return re.sub("|".join(variables), lambda color: f"var(--{variables[color[0]]})", style[0])

    return re.sub(r'style="[^"]*"', replaced, svg)
