"""What the README shows of records and methods, between its markers."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path

from ltbench.config.catalogue import OWN, MethodInfo
from ltbench.config.expand import BASELINE, Plan
from ltbench.core.nouns import NetworkCost
from ltbench.results.board import EMPTY, boards
from ltbench.results.findings import Finding, findings_table
from ltbench.results.leaderboard import update_between_markers
from ltbench.results.render import markdown
from ltbench.results.store import Loaded
from ltbench.results.tables import Cell, Table, main_table

METHOD_COLUMNS = (
    "Key",
    "Method",
    "Paper",
    "Venue",
    "Year",
    "Category",
    "Stages",
    "Extra parameters",
    "Forward cost",
    "Oracle",
    "Status",
)


def methods_table(methods: Mapping[str, MethodInfo], recorded: Collection[str] = ()) -> Table:
    """Return the methods: where they come from, what they cost, how they are checked.

    Args:
        methods: those of the catalogue, and of plugins.
        recorded: keys of the methods that have published records.
    """
    plain = methods[BASELINE].cost
    rows = []
    for key, info in methods.items():
        paper = info.paper
        start = [f"({info.start_from})"] if info.start_from else []
        words = (
            key,
            info.title,
            paper.title if paper else EMPTY,
            paper.venue if paper else EMPTY,
            str(paper.year) if paper else EMPTY,
            info.category,
            " → ".join([*start, *(stage.name for stage in info.stages)]),
            *_relative_cost(info.cost, plain),
            info.oracle or EMPTY,
            _status(info, recorded),
        )
        rows.append(tuple(map(Cell, words)))
    return Table(
        name="methods",
        title="Methods",
        caption="A stage in brackets is that of the method it starts from unless a grid names "
        "another. Extra parameters (teachers and momentum copies too) and forward cost of one "
        "prediction (convolutions and matrix products) are beside softmax's, with ResNet-32, 100 "
        "classes and default hyper-parameters. Oracle: the file of reference numbers in "
        "tests/oracles. Status: what stands behind a method: the contract tests, an oracle, "
        "published records.",
        columns=METHOD_COLUMNS,
        rows=tuple(rows),
    )


def _relative_cost(cost: NetworkCost | None, plain: NetworkCost | None) -> tuple[str, str]:
    """Return extra parameters and forward cost beside plain softmax's."""
    if cost is None or plain is None:
        return EMPTY, EMPTY
    extra = cost.parameters - plain.parameters
    return f"{extra:+,}" if extra else "0", f"{cost.megaflops / plain.megaflops:.2f}x"


def _status(info: MethodInfo, recorded: Collection[str]) -> str:
    """Return what stands behind a method's numbers."""
    if info.family == OWN:
        return "own"
    words = ["contract"]
    if info.oracle:
        words.append("oracle")
    if info.key in recorded:
        words.append("records")
    return ", ".join(words)


def refresh_readme(
    readme: Path,
    plans: Sequence[Plan],
    loaded: Loaded,
    methods: Mapping[str, MethodInfo],
    findings: Sequence[Finding] = (),
) -> None:
    """Write the findings, the main tables and the methods into the README.

    Raises:
        ValueError: if the README lacks a marker.
    """
    every = [board for plan in plans for board in boards(plan, loaded.records)]
    tables = [findings_table(findings, every)] if findings else []
    tables += [main_table(board, methods) for board in every]
    text = "\n".join(markdown(table) for table in tables)
    update_between_markers(readme, "leaderboard", text)
    table = methods_table(methods, published_methods(loaded))
    update_between_markers(readme, "methods", markdown(table))


def published_methods(loaded: Loaded) -> set[str]:
    """Return the keys of the methods that have published records."""
    found = loaded.records.values()
    return {stored.record.method for stored in found if stored.provenance == "published"}
