"""Tables as text: equal tables give equal bytes, and whatever a text says, it is inert.

Templates escape all that they print but what a function here has escaped itself (`Inert`).
"""

import csv
import io
import json
import re
import unicodedata
from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import partial
from html import escape
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from ltbench.analysis.result_set import EMPTY, Estimate
from ltbench.core.exact import fixed
from ltbench.core.text import escape_csv, plain_text
from ltbench.report.table import Cell, Column, Range, Table, cell_text

Named = tuple[str, Table]
"""A table with the name of its board."""

MARKDOWN = str.maketrans(
    {c: f"\\{c}" for c in "\\`*_[]~|$!#"} | {"<": "&lt;", ">": "&gt;", "&": "&amp;", "@": "&#64;"}
)
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


class Inert(str):
    """A text that its format shows as it is meant."""


def escape_markdown(text: str) -> str:
    """Return a text that GitHub's markdown shows as it is, also within a table."""
    escaped = plain_text(text).translate(MARKDOWN)
    return re.sub(r"(?i)(https?|ftp)://", r"\1:&#47;/", escaped).replace("www.", "www&#46;")


def escape_latex(text: str) -> str:
    """Return a text that LaTeX sets as it is."""
    return plain_text(text).translate(LATEX)


def escape_html(text: str) -> str:
    """Return a text that a page shows as it is."""
    return escape(plain_text(text))


def environment(escaped: Callable[[str], str]) -> Environment:
    """Return templates that print every expression escaped, unless it is inert."""
    return Environment(  # noqa: S701 - `finalize` escapes, in each format by its own rules
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        finalize=lambda shown: shown if isinstance(shown, Inert) else escaped(str(shown)),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )


MARKDOWN_TEMPLATES = environment(escape_markdown)
LATEX_TEMPLATES = environment(escape_latex)
HTML_TEMPLATES = environment(escape_html)


def _marked(
    table: Table, escaped: Callable[[str], str], ranks: Sequence[str], notes: str
) -> list[list[str]]:
    """Return cells that are inert, with their marks.

    Args:
        table: of a board.
        escaped: makes a text inert.
        ranks: forms of a cell that is neither best nor second, best, second.
        notes: form of the numbers of notes.
    """

    def marked(cell: Cell, column: Column[Any]) -> str:
        text = ranks[cell.rank].format(escaped(cell_text(cell, column)))
        numbers = ",".join(map(str, table.marks(cell)))
        return text + (notes.format(numbers) if numbers else "")

    return [list(map(marked, row, table.columns)) for row in table.rows]


def markdown(table: Table, level: int = 3) -> str:
    """Return a table under its title, best in bold, second underlined, notes below."""
    body = _marked(table, escape_markdown, ("{}", "**{}**", "<u>{}</u>"), "<sup>{}</sup>")
    head = list(map(escape_markdown, table.titles))
    widths = [max(3, *map(_width, column)) for column in zip(head, *body, strict=True)]
    right = [column.kind is not None for column in table.columns]
    rule = ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)]
    lines = (map(_padded, cells, widths, right) for cells in (head, rule, *body))
    return MARKDOWN_TEMPLATES.get_template("table.md").render(
        heading=Inert("#" * level), table=table, lines=[Inert(" | ".join(cells)) for cells in lines]
    )


def _padded(text: str, width: int, right: bool) -> str:
    gap = " " * (width - _width(text))
    return gap + text if right else text + gap


def _width(text: str) -> int:
    """Return the columns that a terminal gives a text."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) != 0 for c in text)


def latex(table: Table) -> str:
    """Return a table for the booktabs package, best in bold, second underlined, notes below."""
    ranks, notes = ("{}", r"\textbf{{{}}}", r"\underline{{{}}}"), r"\textsuperscript{{{}}}"
    lines = (map(escape_latex, table.titles), *_marked(table, escape_latex, ranks, notes))
    return LATEX_TEMPLATES.get_template("table.tex").render(
        table=table,
        columns="".join("r" if column.kind else "l" for column in table.columns),
        lines=[Inert(" & ".join(cells)) for cells in lines],
    )


def html(table: Table) -> str:
    """Return a table for a page of one's own, best in bold, second underlined, notes below."""
    ranks = ("{}", "<strong>{}</strong>", "<u>{}</u>")
    return HTML_TEMPLATES.get_template("table.html").render(
        table=table,
        rows=[list(map(Inert, row)) for row in _marked(table, escape_html, ranks, "<sup>{}</sup>")],
    )


def csv_text(tables: Sequence[Named]) -> str:
    """Return tables in one long form for programs: a line for each cell beside a row's name.

    Values are in percent, or in what their column names, with four decimals, counts without;
    `text` holds what is no number, and what marks a number that is one of a kind.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for board, table in tables:
        for row in table.rows:
            name = ", ".join(cell.text for cell in row[: table.names])
            for column, cell in list(zip(table.columns, row, strict=True))[table.names :]:
                where = (escape_csv(text) for text in (board, table.name, name, column.title))
                text = cell.text or " ".join(filter(None, ("~" * cell.about, cell.unit)))
                note = " ".join(cell.footnotes)
                writer.writerow([*where, *_csv_number(cell), escape_csv(text), escape_csv(note)])
    return out.getvalue()


def _csv_number(cell: Cell) -> list[str]:
    match cell.content:
        case Estimate() as value:
            low, high = value.interval or (None, None)
            numbers = ["" if x is None else fixed(x, 4) for x in (value.mean, value.std, low, high)]
            return [*numbers, str(value.n), str(value.planned), value.state, " ".join(value.keys)]
        case Range(low=low, high=high):
            return ["", "", fixed(low, 4), fixed(high, 4), *[""] * 4]
        case int() as count:
            return [str(count), *[""] * 7]
        case Fraction() as number:
            return [fixed(number, 4), *[""] * 7]
    return [""] * 8


def json_text(tables: Sequence[Named]) -> str:
    """Return tables for programs: titles, columns, notes, and each cell with its records' keys.

    A cell has the `text` that a person reads, `rank` 1 where it is best and 2 where it is second,
    and the numbers of its notes; its `number`, `low` and `high`, or of a value over seeds mean,
    deviation and interval as far as there are any, `n` of `planned` seeds, its state, and keys.
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
    rows = (f"  {_dumped([_json_cell(table, *pair) for pair in row])}" for row in pairs)
    return f'{_dumped(head)[:-1]}, "rows": [\n' + ",\n".join(rows) + "\n]}"


def _json_column(column: Column[Any]) -> dict[str, Any]:
    kind = column.kind.name if column.kind else None
    parts = {"title": column.title, "kind": kind, "best": column.best, "help": column.help or None}
    return {name: part for name, part in parts.items() if part is not None}


def _json_cell(table: Table, cell: Cell, column: Column[Any]) -> dict[str, Any]:
    text = cell.content if isinstance(cell.content, str) else cell_text(cell, column)
    marks = {"text": text, "rank": cell.rank, "notes": table.marks(cell)}
    return {name: mark for name, mark in marks.items() if mark} | _json_number(cell)


def _json_number(cell: Cell) -> dict[str, Any]:
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
        case Range(low=low, high=high):
            return {"low": _rounded(low), "high": _rounded(high)}
        case int() as count:
            return {"number": count}
        case Fraction() as number:
            return {"number": _rounded(number)}
    return {}


def _rounded(number: Fraction) -> float:
    return float(round(number, JSON_DECIMALS))


def _dumped(value: Any) -> str:
    """Return JSON that is plain ASCII, and inert where a page or a script holds it."""
    text = json.dumps(value, allow_nan=False)
    return text.replace("<", "\\u003c").replace(">", "\\u003e").replace("&", "\\u0026")


def _each(one: Callable[[Table], str], tables: Sequence[Named]) -> str:
    return "\n".join(one(table) for _, table in tables)


FORMATS: dict[str, Callable[[Sequence[Named]], str]] = {
    "md": partial(_each, markdown),
    "csv": csv_text,
    "tex": partial(_each, latex),
    "json": json_text,
    "html": partial(_each, html),
}
"""Tables as a file, by its ending."""
