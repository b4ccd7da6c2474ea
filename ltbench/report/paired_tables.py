"""Paired comparisons as tables: of a board's variants with baselines, and of two variants."""

from collections.abc import Mapping
from fractions import Fraction

from ltbench.analysis.board import EMPTY, Board, State, Value
from ltbench.analysis.significance import Comparison, Verdict, compare_rows, find_plain
from ltbench.core.exact import fixed
from ltbench.report.render import signed_text
from ltbench.report.tables import Cell, Table, setting
from ltbench.runs.store import Stored

BASELINES = ("softmax", "balanced_softmax")

VERDICTS: dict[Verdict, str] = {
    "better": "yes",
    "worse": "no, worse",
    "not separable": "not separable",
}

HOW = (
    "Differences in points of accuracy, with 95 % bootstrap intervals over seeds and images. p: "
    "McNemar's test on the same test images"
)


def paired_table(board: Board, records: Mapping[str, Stored]) -> Table | None:
    """Return how variants differ from softmax and balanced softmax, or None without either."""
    found = [
        (base, compare_rows(board, records, method))
        for method in BASELINES
        if (base := find_plain(board, method))
    ]
    if not found:
        return None
    rows = []
    for entry in board.entries:
        row = [Cell(entry.variant.label)]
        for base, comparisons in found:
            comparison = comparisons.get(entry.variant.label)
            if comparison is not None:
                row += [difference(comparison, len(board.seeds)), Cell(verdict_text(comparison))]
            elif entry is base:
                row += [Cell(EMPTY), Cell(EMPTY)]
            else:
                state = entry.values["acc"].state if base.values["acc"].keys else "missing"
                absent = "not comparable" if state in ("complete", "partial") else state
                row += [Cell(absent), Cell(EMPTY)]
        rows.append(tuple(row))
    labels = [base.variant.label for base, _ in found]
    return Table(
        name="paired",
        title=f"{board.title}: better than {' and '.join(labels)}?",
        caption=f"{setting(board)} {HOW}, corrected by Holm for all variants that are compared "
        'with the same one. "Yes" and "worse" need a p below 0.05 and an interval without zero; '
        "with one seed both speak of these trained networks alone.",
        columns=("Method", *(c for x in labels for c in (f"Over {x}", f"Better than {x}?"))),
        rows=tuple(rows),
    )


def difference(comparison: Comparison, planned: int) -> Cell:
    """Return the cell of a difference, with its sign, over some of the planned seeds."""
    state: State = "complete" if comparison.n == planned else "partial"
    value = Value(
        mean=comparison.difference,
        interval=comparison.interval,
        n=comparison.n,
        planned=planned,
        state=state,
        keys=comparison.keys,
    )
    return Cell(signed_text(value), value)


def verdict_text(comparison: Comparison) -> str:
    """Return what can be said of a comparison, with its corrected p-value."""
    return f"{VERDICTS[comparison.verdict]}, {p_text(comparison.corrected)}"


def p_text(p: Fraction) -> str:
    """Return a p-value as a person reads it."""
    return "p < 0.001" if p < Fraction(1, 1000) else f"p = {fixed(p, 3)}"
