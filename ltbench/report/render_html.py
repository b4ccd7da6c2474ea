"""Tables as HTML for a page of one's own: no style, no script, every text is inert."""

from html import escape

from ltbench.report.render import cell_text, numeric_columns, plain_text
from ltbench.report.tables import Cell, Table

MARKS = {0: "{}", 1: "<strong>{}</strong>", 2: "<u>{}</u>"}


def html(table: Table) -> str:
    """Return a table with its title and caption, best in bold, second underlined, notes below."""
    right = numeric_columns(table)
    caption = " ".join(filter(None, (f"<b>{_text(table.title)}</b>", _text(table.caption))))
    head = "".join(f'<th scope="col">{_text(column)}</th>' for column in table.columns)
    lines = ["<table>", f"<caption>{caption}</caption>", f"<thead><tr>{head}</tr></thead>"]
    lines.append("<tbody>")
    for row in table.rows:
        cells = (_cell(cell, name=i < table.names, number=right[i]) for i, cell in enumerate(row))
        lines.append(f"<tr>{''.join(cells)}</tr>")
    lines += ["</tbody>", "</table>"]
    if table.notes:
        lines += ["<ol>", *(f"<li>{_text(note)}</li>" for note in table.notes), "</ol>"]
    return "\n".join(lines) + "\n"


def _cell(cell: Cell, *, name: bool, number: bool) -> str:
    text = MARKS[cell.rank].format(_text(cell_text(cell)))
    if cell.notes:
        text += f"<sup>{','.join(map(str, sorted(set(cell.notes))))}</sup>"
    if name:
        return f'<th scope="row">{text}</th>'
    return f'<td align="right">{text}</td>' if number else f"<td>{text}</td>"


def _text(text: str) -> str:
    return escape(plain_text(text))
