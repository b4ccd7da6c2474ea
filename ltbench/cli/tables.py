"""Verbs that write and print tables of records."""

from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ltbench.cli.options import Folders, GridNames, Inputs, Plugins, RecordsDir
from ltbench.cli.screen import print_bad, print_report, print_text
from ltbench.config.codes import Code
from ltbench.config.errors import Location, Problem, did_you_mean, format_value, raise_all

if TYPE_CHECKING:
    from ltbench.analysis.pairwise import HeadToHead
    from ltbench.config.planning import Plan
    from ltbench.config.registry import MethodInfo
    from ltbench.report.context import Leaderboard
    from ltbench.report.figure_cache import Drawn
    from ltbench.runs.store import Loaded


RESULTS = Path("results")
COST = "cost.png"
"""The figure that the README shows: accuracy against cost on the board with most variants."""
FINDINGS = RESULTS / "findings.yaml"
COMPARE = Location("compare")
FORMAT = Location("--format")


def leaderboard(
    grids: GridNames = None,
    *,
    folders: Folders,
    to: Annotated[Path, typer.Option(help="Folder of the results.")] = RESULTS,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="Write each grid's tables as csv, json, tex, html or md, or svg figures.",
        ),
    ] = None,
    tables_to: Annotated[
        Path | None, typer.Option("--tables", help="Folder of these; default: where --to is.")
    ] = None,
    findings: Annotated[Path, typer.Option(help="JobLock to test.")] = FINDINGS,
    inputs: Inputs,
    published_only: Annotated[
        bool, typer.Option("--published-only", help="Leave unpublished runs out.")
    ] = False,
    readme: Annotated[Path | None, typer.Option(help="README to refresh, too.")] = None,
    methods_to: Annotated[
        Path | None, typer.Option("--methods", help="Page of the methods to write, too.")
    ] = None,
) -> None:
    """Write what the records say: README.md, the page, and runs.csv; other formats on demand.

    Without --grid it has the grids that records were trained for.
    """
    from ltbench.core.files import write_atomically
    from ltbench.data.files import cache_root
    from ltbench.report.drawing import can_draw
    from ltbench.report.figure_cache import draw_figures, write_figures
    from ltbench.report.formats import FORMATS
    from ltbench.report.leaderboard import write_formats
    from ltbench.report.readme import methods_page, published_methods
    from ltbench.runs.state import failed_jobs
    from ltbench.runs.store import RecordStore

    wanted, known = list(dict.fromkeys(formats or ())), [*FORMATS, "svg"]
    raise_all(
        FORMAT.problem(
            "unknown-value", f"unknown format {format_value(word)}", did_you_mean(word, known)
        )
        for word in wanted
        if word not in known
    )
    loaded = RecordStore(folders.records).load() if published_only else folders.load()
    plans = [inputs.plan(name) for name in grids or trained_grids(loaded)]
    failed: set[str] = set()
    if not published_only:
        failed = set().union(*(failed_jobs(made, folders.runs) for made in plans))
    methods = inputs.methods().methods
    of = read_leaderboard(plans, loaded, methods, findings, failed)
    drawn = None
    if can_draw():
        drawn = draw_figures(of.boards, methods, loaded.records, cache_root() / "figures")
    written = write_results(of, to, drawn, readme)
    written += write_formats(of, [word for word in wanted if word in FORMATS], tables_to or to)
    if drawn is not None and "svg" in wanted:
        written += write_figures(of.boards, drawn, tables_to or to)
    if methods_to is not None:
        page = methods_page(methods, published_methods(loaded))
        write_atomically(methods_to, page.encode(), durable=False)
        written.append(methods_to)
    for path in written:
        print_text(str(path))
    if drawn is None:
        print_text("No figures: they need matplotlib, pip install 'ltbench[plots]'.")
    print_bad(loaded.bad)


def read_leaderboard(
    plans: "Sequence[Plan]",
    loaded: "Loaded",
    methods: "Mapping[str, MethodInfo]",
    findings: Path = FINDINGS,
    failed: Collection[str] = frozenset(),
) -> "Leaderboard":
    """Return the leaderboard of plans, with the claims of a file where it is there."""
    from ltbench.analysis.findings import load_findings
    from ltbench.report.context import Leaderboard

    claims = load_findings(findings) if findings.exists() else ()
    return Leaderboard.of(plans, loaded, methods, claims, failed)


def write_results(
    of: "Leaderboard", to: Path, drawn: "Drawn | None" = None, readme: Path | None = None
) -> list[Path]:
    """Write the results folder, and the README's table; return the files.

    Args:
        of: what they say.
        to: the results folder.
        drawn: its figures; None without matplotlib.
        readme: whose table to write anew.
    """
    from ltbench.analysis.runs import write_runs
    from ltbench.core.files import write_atomically
    from ltbench.report.leaderboard import write_leaderboard
    from ltbench.report.page.document import write_page
    from ltbench.report.readme import refresh_readme

    page = to / "leaderboard"
    written = [
        write_leaderboard(of, to / "README.md"),
        write_runs(of.loaded.records, to / "runs.csv"),
        write_page(of, page, drawn),
    ]
    if drawn is not None and of.fullest is not None:
        for _, made in drawn[of.fullest.grid, of.fullest.id]:
            if made.png is not None:
                write_atomically(page / COST, made.png, durable=False)
                written.append(page / COST)
    if readme is not None:
        refresh_readme(readme, of)
        written.append(readme)
    return written


def trained_grids(loaded: "Loaded") -> list[str]:
    """Return the grids that records were trained for."""
    from ltbench.config.load import available

    trained = {stored.record.grid for stored in loaded.records.values()}
    return [name for name in available("grids") if name in trained]


def compare(
    first: Annotated[str, typer.Argument(help="A variant's label.", metavar="A")],
    second: Annotated[str, typer.Argument(help="The label of another.", metavar="B")],
    grids: GridNames = None,
    dataset: Annotated[str | None, typer.Option(help="OnlyRows this dataset.")] = None,
    recipe: Annotated[str | None, typer.Option(help="OnlyRows this recipe.")] = None,
    split: Annotated[
        Literal["longtailed", "balanced"], typer.Option(help="What both were trained on.")
    ] = "longtailed",
    classes: Annotated[int, typer.Option(min=1, help="Classes to show.")] = 10,
    *,
    folders: Folders,
    inputs: Inputs,
) -> None:
    """Compare two variants on the same test images: overall, by group and by class.

    Without --grid, in every grid that records were trained for.
    """
    from ltbench.analysis.pairwise import head_to_heads
    from ltbench.report.paired_tables import HEAD_TO_HEAD, Match
    from ltbench.report.table import build

    if first == second:
        raise COMPARE.error(
            "no-effect", f"two variants are needed, not {format_value(first)} twice"
        )
    loaded = folders.load()
    plans = [inputs.plan(name) for name in grids or trained_grids(loaded)]
    rows = [(made, row) for made in plans for row in made.rows if not row.needed_for_ua]
    words: tuple[tuple[Code, str | None, set[str]], ...] = (
        ("unknown-variant", first, {row.variant.label for _, row in rows}),
        ("unknown-variant", second, {row.variant.label for _, row in rows}),
        (
            "unknown-dataset",
            dataset,
            {name for _, r in rows for name in (r.dataset.id, r.dataset.name)},
        ),
        ("unknown-recipe", recipe, {row.recipe.name for _, row in rows}),
    )
    raise_all(
        COMPARE.problem(
            code,
            f"no {code.removeprefix('unknown-')} {format_value(word)} in {_named(plans)}",
            did_you_mean(word, known),
        )
        for code, word, known in words
        if word is not None and word not in known
    )
    chosen = [
        (made, row)
        for made, row in rows
        if row.split == split
        if dataset in (None, row.dataset.id, row.dataset.name)
        if recipe in (None, row.recipe.name)
    ]
    matches = head_to_heads(chosen, loaded.records, (first, second))
    if not matches:
        raise COMPARE.error(
            "missing-record",
            f"{format_value(first)} and {format_value(second)} are nowhere planned together there",
        )
    problems: list[Problem] = []
    for match in matches:
        comparison = match.compare()
        if comparison is None:
            problems.append(COMPARE.problem("missing-record", *_incomparable(match)))
            continue
        for table in build(HEAD_TO_HEAD, Match(match, comparison, classes)):
            print_report(table)
    print_bad(loaded.bad)
    if len(problems) == len(matches):
        raise_all(problems)
    for problem in problems:
        print_text(problem.described())


def _named(plans: "list[Plan]") -> str:
    """Return the grids of plans in words."""
    names = [made.grid.name for made in plans]
    return f"the grids {', '.join(names)}" if len(names) > 1 else f"the grid {', '.join(names)}"


def _incomparable(match: "HeadToHead") -> tuple[str, str]:
    """Return why two variants cannot be compared somewhere, and what to do."""
    without = [label for label, runs in zip(match.labels, match.runs, strict=True) if not runs]
    why = "no seed has both, tested on the same images"
    if without:
        why = f"no record of {' or '.join(map(format_value, without))}"
    return f"{match.place}: {why}", f"ltbench run --grid {match.grid} trains what is missing"


def methods(plugins: Plugins = None, records: RecordsDir = Folders.records) -> None:
    """List the methods: where they come from, what they cost, how they are checked."""
    from ltbench.launch.plan import read_registry
    from ltbench.report.method_tables import METHODS, Methods
    from ltbench.report.readme import published_methods
    from ltbench.report.table import build
    from ltbench.runs.store import RecordStore

    recorded = published_methods(RecordStore(records).load())
    for table in build([METHODS], Methods(read_registry(plugins or ()).methods, recorded)):
        print_report(table)
