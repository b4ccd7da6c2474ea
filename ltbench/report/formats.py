"""Tables as markdown, CSV, LaTeX, JSON and HTML.

Equal tables give equal bytes, and no text becomes markup: templates escape every expression but
those that a function here has escaped (`Inert`).
"""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache, partial
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ltbench.analysis.result_set import EMPTY, Estimate
from ltbench.core.exact import fixed, in_decimals, significant
from ltbench.core.text import escape_csv, plain_text
from ltbench.report.table import P_VALUE, Cell, Column, NumberRange, Table, cell_text

BoardTable = tuple[str, Table]
"""A table with the name of its board."""

MARKDOWN = str.maketrans(
    {c: f"\\{c}" for c in "\\`*_[]~|$!#"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;", "@": "&#64;"}
)
_WORD = f"[0-9A-Za-vx-z.,%±{EMPTY}+()-]+"
_PLAIN = re.compile(f"{_WORD}( {_WORD})*")
"""Numbers and words, most cells of a table, that markdown has no use for; `www.` makes links."""

LATEX = str.maketrans(
    {c: f"\\{c}" for c in "{}$&%#_"}
    | {c: f"{{{c}}}" for c in "[]*"}  # after a line break of a table they would be its argument
    | {
        "\\": r"\textbackslash{}",
        "~": r"\textasciitilde{}",
        "^": r"\textasciicircum{}",
        "<": r"\textless{}",
        ">": r"\textgreater{}",
        "|": r"\textbar{}",
        EMPTY: "--",
        "±": r"$\pm$",
        "τ": r"$\tau$",
    }
)
CSV_COLUMNS = (
    *("board", "table", "row", "column"),
    *("mean", "std", "low", "high", "n", "planned", "state", "keys"),
    *("text", "note"),
)
JSON_DECIMALS = 6
P_DIGITS = 4
"""Significant digits of p-values, which decimals would round to zero."""


class Inert(str):
    """A text that is already escaped."""


def escape_markdown(text: str) -> str:
    """Escape a text for GitHub's markdown, tables included."""
    if _PLAIN.fullmatch(text):
        return text
    escaped = plain_text(text).translate(MARKDOWN)
    return re.sub(r"(?i)(https?|ftp)://", r"\1:&#47;/", escaped).replace("www.", "www&#46;")


def escape_latex(text: str) -> str:
    """Escape a text for LaTeX."""
    return plain_text(text).translate(LATEX)


def escape_html(text: str) -> str:
    """Escape a text for HTML."""
    return escape(plain_text(text))


def environment(escape_text: Callable[[str], str]) -> Environment:
    """Return a template environment that escapes all but `Inert` expressions."""
    return Environment(  # noqa: S701 - `finalize` escapes, in each format by its own rules
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        finalize=lambda value: value if isinstance(value, Inert) else escape_text(str(value)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


MARKDOWN_TEMPLATES = environment(escape_markdown)
LATEX_TEMPLATES = environment(escape_latex)
HTML_TEMPLATES = environment(escape_html)


def _marked(
    table: Table, escape_text: Callable[[str], str], ranks: Sequence[str], notes: str
) -> list[list[str]]:
    """Return escaped cells with marks for best, second and notes.

    Args:
        table: of a board.
        escape_text: of the format.
        ranks: formats of a cell: neither best nor second, best, second.
        notes: format of the numbers of notes.
    """
    escaped = cache(escape_text)  # labels and verdicts are in many cells

    def marked(cell: Cell, column: Column[Any]) -> str:
        text = ranks[cell.rank].format(escaped(cell_text(cell, column)))
        marks = table.marks(cell)
        return text + notes.format(",".join(map(str, marks))) if marks else text

    return [list(map(marked, row, table.columns)) for row in table.rows]


def markdown(table: Table, level: int = 3) -> str:
    """Return a table in markdown: best in bold, second underlined."""
    body = _marked(table, escape_markdown, ("{}", "**{}**", "<u>{}</u>"), "<sup>{}</sup>")
    head = list(map(escape_markdown, table.titles))
    sizes = [list(map(_width, cells)) for cells in (head, *body)]
    widths = [max(3, *column) for column in zip(*sizes, strict=True)]
    right = [column.kind is not None for column in table.columns]
    rule = ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)]
    rows = zip((head, rule, *body), (sizes[0], widths, *sizes[1:]), strict=True)
    lines = (map(_padded, cells, taken, widths, right) for cells, taken in rows)
    return MARKDOWN_TEMPLATES.get_template("table.md").render(
        heading=Inert("#" * level), table=table, lines=[Inert(" | ".join(cells)) for cells in lines]
    )


def _padded(text: str, taken: int, width: int, right: bool) -> str:
    gap = " " * (width - taken)
    return gap + text if right else text + gap


def _width(text: str) -> int:
    """Return the width of a text in terminal columns."""
    if text.replace("±", "").isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) != 0 for c in text)


def latex(table: Table) -> str:
    """Return a LaTeX table (booktabs): best in bold, second underlined."""
    ranks, notes = ("{}", r"\textbf{{{}}}", r"\underline{{{}}}"), r"\textsuperscript{{{}}}"
    lines = (map(escape_latex, table.titles), *_marked(table, escape_latex, ranks, notes))
    return LATEX_TEMPLATES.get_template("table.tex").render(
        table=table,
        columns="".join("r" if column.kind else "l" for column in table.columns),
        lines=[Inert(" & ".join(cells)) for cells in lines],
    )


def html(table: Table) -> str:
    """Return a plain HTML table: best in bold, second underlined."""
    ranks = ("{}", "<strong>{}</strong>", "<u>{}</u>")
    return HTML_TEMPLATES.get_template("table.html").render(
        table=table,
        rows=[list(map(Inert, row)) for row in _marked(table, escape_html, ranks, "<sup>{}</sup>")],
    )


def csv_text(tables: Sequence[BoardTable]) -> str:
    """Return tables as long-form CSV, one line per cell.

    Values have four decimals, p-values four digits and counts no decimals, in percent or in the
    unit that the column names; `text` holds cells that are not numbers, and marks of single numbers
    such as `~` or a unit.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for board, table in tables:
        for row in table.rows:
            name = ", ".join(cell.text for cell in row[: table.names])
            for column, cell in list(zip(table.columns, row, strict=True))[table.names :]:
                names = (escape_csv(text) for text in (board, table.name, name, column.title))
                text = cell.text or " ".join(filter(None, ("~" * cell.about, cell.unit)))
                note = " ".join(cell.footnotes)
                numbers = _csv_number(cell, column)
                writer.writerow([*names, *numbers, escape_csv(text), escape_csv(note)])
    return out.getvalue()


def _csv_number(cell: Cell, column: Column[Any]) -> list[str]:
    match cell.content:
        case Estimate() as value:
            low, high = value.interval or (None, None)
            numbers = ["" if x is None else fixed(x, 4) for x in (value.mean, value.std, low, high)]
            return [*numbers, str(value.n), str(value.planned), value.state, " ".join(value.keys)]
        case NumberRange(low=low, high=high):
            return ["", "", fixed(low, 4), fixed(high, 4), *[""] * 4]
        case int() as count:
            return [str(count), *[""] * 7]
        case Fraction() as p if column.kind is P_VALUE:
            return [significant(p, P_DIGITS), *[""] * 7]
        case Fraction() as number:
            return [fixed(number, 4), *[""] * 7]
    return [""] * 8


def json_text(tables: Sequence[BoardTable]) -> str:
    """Return tables as JSON, with numbers and record keys per cell.

    A cell has the `text` for readers, `rank` 1 if it is best and 2 if second, and the numbers of
    its notes. A number has `number`, or `low` and `high`; an estimate over seeds has mean, std and
    interval if they exist, `n` of `planned` seeds, state and keys.
    """
    parts = (_json_table(board, table) for board, table in tables)
    return '{"tables": [\n' + ",\n".join(parts) + "\n]}\n"


def _json_table(board: str, table: Table) -> str:
    head = {
        "board": board,
        "name": table.name,
        "title": table.title,
        "caption": table.caption,
        "columns": [_json_column(column) for column in table.columns],
        "names": table.names,
        "notes": table.notes,
    }
    pairs = (zip(row, table.columns, strict=True) for row in table.rows)
    rows = (f"  {_dump([_json_cell(table, *pair) for pair in row])}" for row in pairs)
    return f'{_dump(head)[:-1]}, "rows": [\n' + ",\n".join(rows) + "\n]}"


def _json_column(column: Column[Any]) -> dict[str, Any]:
    kind = column.kind.name if column.kind else None
    parts = {"title": column.title, "kind": kind, "best": column.best, "help": column.help or None}
    return {name: part for name, part in parts.items() if part is not None}


def _json_cell(table: Table, cell: Cell, column: Column[Any]) -> dict[str, Any]:
    text = cell.content if isinstance(cell.content, str) else cell_text(cell, column)
    marks = {"text": text, "rank": cell.rank, "notes": table.marks(cell)}
    return {name: mark for name, mark in marks.items() if mark} | _json_number(cell, column)


def _json_number(cell: Cell, column: Column[Any]) -> dict[str, Any]:
    match cell.content:
        case Estimate() as value:
            interval = None if value.interval is None else [*map(_rounded, value.interval)]
            parts = {
                "mean": None if value.mean is None else _rounded(value.mean),
                "std": None if value.std is None else _rounded(value.std),
                "interval": interval,
                "n": value.n,
                "planned": value.planned,
                "state": value.state,
                "failed": value.failed,
                "reason": value.reason or None,
                "keys": value.keys,
            }
            return {name: part for name, part in parts.items() if part is not None}
        case NumberRange(low=low, high=high):
            return {"low": _rounded(low), "high": _rounded(high)}
        case int() as count:
            return {"number": count}
        case Fraction() as p if column.kind is P_VALUE:
            return {"number": float(significant(p, P_DIGITS))}
        case Fraction() as number:
            return {"number": _rounded(number)}
    return {}


def _rounded(number: Fraction) -> float:
    scale: int = 10**JSON_DECIMALS
    return in_decimals(number, JSON_DECIMALS) / scale


def _dump(value: Any) -> str:
    """Return ASCII JSON that is safe within HTML and scripts."""
    text = json.dumps(value, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _each(one: Callable[[Table], str], tables: Sequence[BoardTable]) -> str:
    return "\n".join(one(table) for _, table in tables)


FORMATS: dict[str, Callable[[Sequence[BoardTable]], str]] = {
    "md": partial(_each, markdown),
    "csv": csv_text,
    "tex": partial(_each, latex),
    "json": json_text,
    "html": partial(_each, html),
}
"""Writers of tables by file extension."""
