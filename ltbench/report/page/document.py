"""The page as HTML: one file that loads nothing.

Jinja escapes every value, such as names of methods. A content security policy names the two scripts
by their hashes and allows nothing else to run or load; without scripts the page is plain tables.
"""

import hashlib
import math
from base64 import b64encode
from collections.abc import Mapping, Sequence
from fractions import Fraction
from functools import cache, lru_cache
from pathlib import Path

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from ltbench import __version__
from ltbench.core.exact import fixed, measured
from ltbench.core.files import write_atomically
from ltbench.core.garbage import gc_paused
from ltbench.report.context import Leaderboard
from ltbench.report.drawing import Drawing, themed
from ltbench.report.evidence import evidence
from ltbench.report.families import FAMILIES, family_of, listed_method
from ltbench.report.figures import Figure
from ltbench.report.page.board_views import board_view
from ltbench.report.page.cells import view_of
from ltbench.report.page.methods import REPEATED_COLUMNS, method_sections
from ltbench.report.page.overview import shape
from ltbench.report.summary_tables import (
    FINDINGS_TABLE,
    PROBLEMS_TABLE,
    RANKS_TABLE,
    TALLY,
    findings_tally,
)
from ltbench.report.table import PERCENT, build
from ltbench.report.tables import recipe_tables

HERE = Path(__file__).parent

UNFOLDED = 30
"""Most methods whose families are not folded."""


@gc_paused()
def write_page(
    of: Leaderboard,
    out_dir: Path,
    figures: Mapping[tuple[str, str], Sequence[tuple[Figure, Drawing]]] | None = None,
) -> Path:
    """Write `index.html`; return its path.

    Equal records give equal bytes, except in figures.

    Args:
        of: the leaderboard.
        out_dir: folder of the page.
        figures: with drawings, by grid and board.
    """
    records = of.loaded.records
    boards = [board_view(b, plan, of.methods, records) for plan, found in of.grids for b in found]
    findings = build([FINDINGS_TABLE], of)
    across = [
        *build([RANKS_TABLE], of),
        *(t for _, found in of.grids for t in recipe_tables(found)),
    ]
    finished = [stored.record.environment.finished for stored in records.values()]
    titles = {title for board in boards for title in board.overview.table.titles}
    columns = [title for title in REPEATED_COLUMNS if title in titles]
    html = (
        _environment(of)
        .get_template("index.html")
        .render(
            version=__version__,
            date=max(finished).date().isoformat() if finished else None,
            records=len(records),
            records_hash=hashlib.sha256("".join(sorted(records)).encode()).hexdigest()[:7],
            evidence=evidence(of),
            boards=boards,
            default=next((view for view in boards if view.board is of.fullest), None),
            findings=[view_of(table, table.title) for table in findings],
            tally=findings_tally(of),
            tally_styles=TALLY,
            across=[view_of(table, table.title) for table in across],
            problems=[view_of(table, table.title) for table in build([PROBLEMS_TABLE], of)],
            families=FAMILIES.values(),
            columns=columns,
            unfolded=UNFOLDED,
            sections=method_sections(boards, of.methods, records, columns),
            figures=figures or {},
            style=Markup(_file("style.css")),  # noqa: S704  (ours, not data)
            first_script=_script("theme.js"),
            script=_script("page.js"),
        )
    )
    path = out_dir / "index.html"
    write_atomically(path, html.encode(), durable=False)
    return path


def _environment(of: Leaderboard) -> Environment:
    """Return a template environment that escapes every value."""
    environment = Environment(
        loader=FileSystemLoader(HERE),
        autoescape=True,
        finalize=_visible,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters["visible"] = visible
    environment.globals.update(
        shape=shape,
        line=curve_line,
        area=curve_area,
        inline=inline,
        percent=PERCENT.text,
        fixed=fixed,
        method_info=of.methods.get,
        family_key=lambda key: family_of(key, of.methods).key,
        listed_method=lambda entry: listed_method(entry, of.methods),
    )
    return environment


def _visible(value: object) -> object:
    """Return a template's value, a text with its control characters escaped."""
    if isinstance(value, str) and not isinstance(value, Markup):
        return visible(value)
    return value


def visible(text: str) -> str:
    """Return a text with control and direction characters as escapes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in text)


def _file(name: str) -> str:
    return (HERE / name).read_text(encoding="utf-8")


def _script(name: str) -> tuple[Markup, str]:
    """Return a script and its hash for the content security policy."""
    text = _file(name)
    digest = b64encode(hashlib.sha256(text.encode()).digest()).decode()
    return Markup(text), f"'sha256-{digest}'"  # noqa: S704  (ours, not data)


def inline(drawing: Drawing) -> Markup:
    """Return a drawing as inline SVG."""
    return Markup(themed(drawing.svg))  # noqa: S704  (drawn by matplotlib, which escapes labels)


def curve_line(values: Sequence[Fraction], width: int, height: int) -> str:
    """Return accuracies in percent as points of an SVG polyline."""
    across = _equal_steps(len(values), width)
    heights = (fixed(height * (1 - value / 100), 1) for value in values)
    return " ".join(map("{},{}".format, across, heights))


@cache
def _equal_steps(points: int, width: int) -> tuple[str, ...]:
    step = Fraction(width, max(points - 1, 1))
    return tuple(fixed(i * step, 1) for i in range(points))


@lru_cache(maxsize=64)  # equal for almost all variants of a board
def curve_area(images: tuple[Fraction, ...], width: int, height: int) -> str:
    """Return training images, on a log scale, as an SVG polygon."""
    top = math.log1p(max(images)) or 1.0
    shares = [measured(100 * math.log1p(n) / top) for n in images]
    return f"0,{height} {curve_line(shares, width, height)} {width},{height}"
