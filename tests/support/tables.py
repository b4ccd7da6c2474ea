"""Tables of a board, and their texts."""

from ltbench.report.context import BoardContext
from ltbench.report.table import cell_text


def made(spec, board, methods=None, records=None):
    """Return a table of a board; None if it is empty."""
    return spec.build(BoardContext(board, methods or {}, records or {}))


def column(table, title):
    """Return the cells of a column."""
    index = table.titles.index(title)
    return [row[index] for row in table.rows]


def said(table, row):
    """Return the texts of a row's cells."""
    return [cell_text(*pair) for pair in zip(row, table.columns, strict=True)]


def texts(table):
    """Return the texts of each row's other cells, by its first."""
    return {row[0].text: said(table, row)[1:] for row in table.rows}
