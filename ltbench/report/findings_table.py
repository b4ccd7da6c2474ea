"""Claims of the literature and whether they hold here."""

from collections.abc import Sequence

from ltbench.analysis.board import Board
from ltbench.analysis.findings import Finding, evaluate, pairs_of
from ltbench.report.tables import Cell, Table


def findings_table(findings: Sequence[Finding], boards: Sequence[Board]) -> Table:
    """Return a row for each finding and each board that can test it.

    Grids with the same figures under the same recipe share a row. A finding that no board can test
    has one row that says what it lacks on the first. A claim about recipes is about boards of these
    recipes alone.
    """
    rows = []
    for finding in findings:
        pairs = pairs_of(finding, boards) if finding.over else [(board, None) for board in boards]
        results = [(b, evaluate(finding, b, other)) for b, other in pairs]
        testable = [each for each in results if each[1].verdict != "not testable"]
        grids: dict[tuple[str, str, str], list[str]] = {}
        for b, result in testable or results[:1]:
            grids.setdefault((b.id, result.ours, result.verdict), []).append(b.grid)
        found = [(f"{', '.join(of)}: {id_}", *words) for (id_, *words), of in grids.items()]
        for words in found or [("", "no board has its recipes", "not testable")]:
            claim = (finding.claim, finding.source, finding.published)
            rows.append(tuple(Cell(word) for word in (*claim, *words)))
    return Table(
        name="findings",
        title="Findings",
        caption="Claims of the literature, the published figures, and whether they hold here.",
        columns=("Claim", "Source", "Published", "Board", "Ours", "Verdict"),
        rows=tuple(rows),
    )
