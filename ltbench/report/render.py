"""Tables as markdown, CSV and LaTeX: equal tables give equal bytes, and every text is inert."""

import csv
import io
import re
import unicodedata
from collections.abc import Sequence

from ltbench.analysis.board import DECIMALS, EMPTY, Value
from ltbench.core.exact import fixed
from ltbench.report.tables import Cell, Table

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
FORMULA = (*"=+-@", *(chr(ord(c) + 0xFEE0) for c in "=+-@"))
"""Characters that a spreadsheet takes for the start of a formula, also in full width."""


def plain_text(text: str) -> str:
    """Return a text on one line: no control, direction or other unprintable characters."""
    if not text.isprintable():
        text = "".join(c if c.isprintable() else " " for c in text)
    return " ".join(text.split())


def escape_markdown(text: str) -> str:
    """Return a text that GitHub's markdown shows as it is, also within a table."""
    escaped = plain_text(text).translate(MARKDOWN)
    return re.sub(r"(?i)(https?|ftp)://", r"\1:&#47;/", escaped).replace("www.", "www&#46;")


def escape_latex(text: str) -> str:
    """Return a text that LaTeX sets as it is."""
    return plain_text(text).translate(LATEX)


def escape_csv(text: str) -> str:
    """Return a text that no spreadsheet takes for a formula."""
    text = plain_text(text)
    return f"'{text}" if text.startswith(FORMULA) else text


def value_text(value: Value) -> str:
    """Return a value for a person: the mean and its spread, or why there is none."""
    if value.state == "not available":
        return "n/a"
    if value.state == "empty":
        return EMPTY
    if value.mean is None:
        return value.state
    text = fixed(value.mean, DECIMALS)
    if value.std is not None:
        text += f" ± {fixed(value.std, DECIMALS)}"
    if value.interval is not None:
        low, high = value.interval
        text += f" ({fixed(low, DECIMALS)} to {fixed(high, DECIMALS)})"
    return text + seeds_text(value)


def signed_text(value: Value) -> str:
    """Return the text of a difference, with its sign."""
    text = value_text(value)
    return text if value.mean is None or text.startswith("-") else f"+{text}"


def seeds_text(value: Value) -> str:
    """Return which seeds a value has, where it has not all of them."""
    if value.state != "partial":
        return ""
    failed = f", {value.failed} failed" if value.failed else ""
    return f" ({value.n}/{value.planned} seeds{failed})"


def cell_text(cell: Cell) -> str:
    """Return a cell for a person, its notes left out."""
    return cell.text if cell.text or cell.value is None else value_text(cell.value)


def _width(text: str) -> int:
    """Return the columns that a terminal gives a text."""
    if text.isascii():
        return len(text)
    wide = sum(unicodedata.east_asian_width(c) in "WF" for c in text)
    return len(text) + wide - sum(unicodedata.combining(c) != 0 for c in text)


def numeric_columns(table: Table) -> list[bool]:
    """Return whether each column holds values."""
    return [any(row[i].value is not None for row in table.rows) for i in range(len(table.columns))]


def markdown(table: Table, level: int = 3) -> str:
    """Return a table under its title, best in bold, second underlined, notes below."""
    body = [[_markdown_cell(cell) for cell in row] for row in table.rows]
    head = [escape_markdown(column) for column in table.columns]
    widths = [max(3, *(_width(line[i]) for line in [head, *body])) for i in range(len(head))]
    right = numeric_columns(table)
    rule = ["-" * (w - 1) + ":" if r else "-" * w for w, r in zip(widths, right, strict=True)]

    def line(cells: list[str]) -> str:
        gaps = [" " * (width - _width(cell)) for cell, width in zip(cells, widths, strict=True)]
        padded = [gap + c if r else c + gap for c, gap, r in zip(cells, gaps, right, strict=True)]
        return f"| {' | '.join(padded)} |"

    parts = [f"{'#' * level} {escape_markdown(table.title)}", escape_markdown(table.caption)]
    parts.append("\n".join(line(cells) for cells in [head, rule, *body]))
    parts += [
        f"<sup>{i}</sup> {escape_markdown(text)}" for i, text in enumerate(table.notes, start=1)
    ]
    return "\n\n".join(part for part in parts if part) + "\n"


def _markdown_cell(cell: Cell) -> str:
    text = escape_markdown(cell_text(cell))
    text = {0: "{}", 1: "**{}**", 2: "<u>{}</u>"}[cell.rank].format(text)
    return text + _marks(cell, "<sup>{}</sup>")


def _marks(cell: Cell, mark: str) -> str:
    numbers = sorted(set(cell.notes))
    return mark.format(",".join(map(str, numbers))) if numbers else ""


def latex(table: Table) -> str:
    """Return a table for the booktabs package, best in bold, second underlined, notes below."""
    columns = "".join("r" if numeric else "l" for numeric in numeric_columns(table))
    body = [" & ".join(_latex_cell(cell) for cell in row) + r" \\" for row in table.rows]
    notes = [
        rf"\\ \textsuperscript{{{i}}} {escape_latex(text)}"
        for i, text in enumerate(table.notes, start=1)
    ]
    caption = f"{escape_latex(table.title)}. {escape_latex(table.caption)}"
    lines = [
        r"\begin{table}",
        rf"\caption{{{caption}}}",
        rf"\begin{{tabular}}{{{columns}}}",
        r"\toprule",
        " & ".join(escape_latex(column) for column in table.columns) + r" \\",
        r"\midrule",
        *body,
        r"\bottomrule",
        r"\end{tabular}",
        *notes,
        r"\end{table}",
    ]
    return "\n".join(lines) + "\n"


def _latex_cell(cell: Cell) -> str:
    text = escape_latex(cell_text(cell))
    text = {0: "{}", 1: r"\textbf{{{}}}", 2: r"\underline{{{}}}"}[cell.rank].format(text)
    return text + _marks(cell, r"\textsuperscript{{{}}}")


def csv_text(tables: Sequence[tuple[str, Table]]) -> str:
    """Return tables in one long form for programs: a line for each cell beside a row's name.

    Values are in percent, or in what their column names, with four decimals; `text` holds what is
    not a value, or what a person reads in its place.

    Args:
        tables: each with the name of its board.
    """
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(CSV_COLUMNS)
    for board, table in tables:
        for row in table.rows:
            name = ", ".join(cell.text for cell in row[: table.names])
            for column, cell in list(zip(table.columns, row, strict=True))[table.names :]:
                notes = " ".join(table.notes[i - 1] for i in cell.notes)
                where = (escape_csv(text) for text in (board, table.name, name, column))
                writer.writerow(
                    [*where, *_csv_value(cell.value), escape_csv(cell.text), escape_csv(notes)]
                )
    return out.getvalue()


def _csv_value(value: Value | None) -> list[str]:
    if value is None:
        return [""] * 8
    low, high = value.interval or (None, None)
    numbers = ["" if x is None else fixed(x, 4) for x in (value.mean, value.std, low, high)]
    return [*numbers, str(value.n), str(value.planned), value.state, " ".join(value.keys)]
