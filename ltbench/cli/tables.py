"""Verbs that write and print tables of results."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from ltbench.cli.options import Folders, GridNames, Inputs, foreign_files, missing_files
from ltbench.cli.screen import print_bad, print_report, print_text, print_warning
from ltbench.cli.verbs import Needs
from ltbench.config.codes import Code
from ltbench.config.errors import (
    ConfigError,
    Location,
    Problem,
    collect_errors,
    did_you_mean,
    format_value,
    raise_all,
)
from ltbench.data.errors import printable

if TYPE_CHECKING:
    from ltbench.analysis.pairwise import HeadToHead
    from ltbench.config.planning import Plan, PlannedRun
    from ltbench.config.registry import MethodInfo
    from ltbench.report.context import Leaderboard
    from ltbench.report.figure_cache import Drawn
    from ltbench.runs.store import Loaded


RESULTS = Path("results")
COST_FIGURE = "cost.png"
"""Figure of the README: accuracy against cost on the board with most variants."""
FINDINGS_FILE = RESULTS / "findings.yaml"
COMPARE = Location("compare")
FORMAT = Location("--format")
SVG = "svg"
"""Format of the figures; all others are of tables."""


def leaderboard(
    grids: GridNames = None,
    *,
    folders: Folders,
    to: Annotated[Path, typer.Option(help="Folder to write to.")] = RESULTS,
    formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            help="Also write tables as csv, json, tex, html or md, or svg figures; repeatable.",
        ),
    ] = None,
    tables_to: Annotated[
        Path | None,
        typer.Option("--tables", help="Folder of the files of --format; default: that of --to."),
        Needs("--format"),
    ] = None,
    findings: Annotated[Path, typer.Option(help="File of the findings to test.")] = FINDINGS_FILE,
    inputs: Inputs,
    published_only: Annotated[
        bool, typer.Option("--published-only", help="Leave out unpublished runs.")
    ] = False,
    readme: Annotated[
        Path | None, typer.Option(help="Also refresh the table of this README.")
    ] = None,
    methods_to: Annotated[
        Path | None, typer.Option("--methods", help="Also write the methods page to this file.")
    ] = None,
) -> None:
    """Write the leaderboard: README.md, a file per grid, web page and runs.csv.

    Without --grid, it has all grids with records.
    """
    from ltbench.core.files import write_atomically
    from ltbench.data.files import cache_root
    from ltbench.report.drawing import can_draw
    from ltbench.report.figure_cache import draw_figures
    from ltbench.report.readme import methods_page, published_methods
    from ltbench.runs.state import failed_jobs

    chosen = list(dict.fromkeys(formats or ()))
    raise_all(_option_problems(chosen, findings, readme) + _target_problems(to, methods_to))
    loaded = folders.read(published_only=published_only)
    plans = plans_of(grids, loaded, inputs)
    failed: set[str] = set()
    if not published_only:
        failed = set().union(*(failed_jobs(plan, folders.runs) for plan in plans))
    methods = inputs.methods().methods
    board = read_leaderboard(plans, loaded, methods, findings, failed)
    drawn = None
    if can_draw():
        drawn = draw_figures(board.boards, methods, loaded.records, cache_root() / "figures")
    written = write_results(board, to, drawn, readme)
    written += _write_formats(board, chosen, tables_to or to, drawn)
    if methods_to is not None:
        page = methods_page(methods, published_methods(loaded))
        write_atomically(methods_to, page.encode(), durable=False)
        written.append(methods_to)
    for path in written:
        print_text(str(path))
    if drawn is None:
        print_text("No figures: matplotlib is missing (`pip install 'ltbench[plots]'`).")
    print_bad(loaded.bad)


def _option_problems(formats: Sequence[str], findings: Path, readme: Path | None) -> list[Problem]:
    """Return the problems of --format, --findings and --readme."""
    from ltbench.report.formats import FORMATS

    known = [*FORMATS, SVG]
    problems = [
        FORMAT.problem(
            "unknown-value", f"unknown format {format_value(name)}", did_you_mean(name, known)
        )
        for name in formats
        if name not in known
    ]
    return problems + source_problems(findings, readme, FINDINGS_FILE)


def source_problems(findings: Path, readme: Path | None, *defaults: Path) -> list[Problem]:
    """Return the problems of --findings and --readme; defaults may be missing."""
    from ltbench.analysis.findings import load_findings
    from ltbench.report.readme import check_markers

    problems = missing_files({"--findings": findings, "--readme": readme}, *defaults)
    if findings.is_file():
        with collect_errors(problems):
            load_findings(findings)
    if readme is not None and readme.is_file():
        with collect_errors(problems):
            check_markers(readme)
    return problems


def _target_problems(to: Path, methods_to: Path | None) -> list[Problem]:
    """Return the files of --to and --methods that are the user's own."""
    from ltbench.report import leaderboard, readme

    marks = {
        to / "README.md": leaderboard.GENERATED,
        **dict.fromkeys((to / leaderboard.GRIDS).glob("*.md"), leaderboard.GENERATED),
        to / "runs.csv": "key,config,grid,",
        to / "leaderboard" / "index.html": "<title>ltbench leaderboard</title>",
    }
    methods = {} if methods_to is None else {methods_to: readme.GENERATED}
    return foreign_files("--to", marks) + foreign_files("--methods", methods)


def _write_formats(
    board: "Leaderboard", formats: Sequence[str], folder: Path, drawn: "Drawn | None"
) -> list[Path]:
    """Write tables in some formats, and svg figures; return the files."""
    from ltbench.report.figure_cache import write_figures
    from ltbench.report.formats import FORMATS
    from ltbench.report.leaderboard import write_formats

    written = write_formats(board, [name for name in formats if name in FORMATS], folder)
    if drawn is not None and SVG in formats:
        written += write_figures(board.boards, drawn, folder)
    return written


def read_leaderboard(
    plans: "Sequence[Plan]",
    loaded: "Loaded",
    methods: "Mapping[str, MethodInfo]",
    findings: Path = FINDINGS_FILE,
    failed: Collection[str] = frozenset(),
) -> "Leaderboard":
    """Return the leaderboard of plans, with the findings of a file."""
    from ltbench.analysis.findings import load_findings
    from ltbench.report.context import Leaderboard

    tested = load_findings(findings) if findings.exists() else ()
    return Leaderboard.of(plans, loaded, methods, tested, failed)


def write_results(
    board: "Leaderboard", to: Path, drawn: "Drawn | None" = None, readme: Path | None = None
) -> list[Path]:
    """Write the results folder and the README's table; return the files.

    Args:
        board: the leaderboard.
        to: the results folder.
        drawn: its figures; None without matplotlib.
        readme: README whose table is refreshed.
    """
    from ltbench.analysis.runs import write_runs
    from ltbench.core.files import write_atomically
    from ltbench.report.leaderboard import write_leaderboard
    from ltbench.report.page.document import write_page
    from ltbench.report.readme import refresh_readme

    page = to / "leaderboard"
    written = [
        *write_leaderboard(board, to / "README.md"),
        write_runs(board.loaded.records, to / "runs.csv"),
        write_page(board, page, drawn),
    ]
    if drawn is not None and board.fullest is not None:
        for _, figure in drawn[board.fullest.grid, board.fullest.id]:
            if figure.png is not None:
                write_atomically(page / COST_FIGURE, figure.png, durable=False)
                written.append(page / COST_FIGURE)
    if readme is not None:
        refresh_readme(readme, board)
        written.append(readme)
    return written


def plans_of(grids: Sequence[str] | None, loaded: "Loaded", inputs: Inputs) -> list["Plan"]:
    """Return the plans of grids, by default of all that have records.

    A grid that is not named and cannot be planned is left out with a warning: its file may be gone
    or in another folder, or its plugin not given. If none can be planned, that is an error.
    """
    if grids:
        return [inputs.plan(name) for name in grids]
    inputs.methods()  # a plugin that cannot be used is an error of all grids
    plans: list[Plan] = []
    problems: list[Problem] = []
    names = trained_grids(loaded)
    for name in names:
        try:
            plans.append(inputs.plan(name))
        except ConfigError as error:
            problems += error.problems
            _left_out(name, f"{error.problems[0]}; all errors: `ltbench plan --grid {name}`")
    if not plans:
        raise_all(problems)
    planned = {key for plan in plans for key in plan.jobs}
    others = {s.record.grid for key, s in loaded.records.items() if key not in planned}
    for name in sorted(others.difference(name.removesuffix(".yaml") for name in names)):
        _left_out(name, f"there is no {name}.yaml here; name its file with --grid")
    return plans


def _left_out(grid: str, reason: str) -> None:
    print_warning(printable(f"Left out: grid {grid}: {reason}"))


def trained_grids(loaded: "Loaded") -> list[str]:
    """Return the grids with records, shipped ones first."""
    from ltbench.config.files import available

    trained = {stored.record.grid for stored in loaded.records.values()}
    named = [name for name in available("grids") if name in trained]
    files = [f"{name}.yaml" for name in sorted(trained.difference(named))]
    return named + [file for file in files if Path(file).is_file()]


def compare(
    first: Annotated[str, typer.Argument(help="Label of a variant.", metavar="A")],
    second: Annotated[str, typer.Argument(help="Label of another variant.", metavar="B")],
    grids: GridNames = None,
    dataset: Annotated[str | None, typer.Option(help="Only this dataset.")] = None,
    recipe: Annotated[str | None, typer.Option(help="Only this recipe.")] = None,
    split: Annotated[
        Literal["longtailed", "balanced"], typer.Option(help="Training split of both.")
    ] = "longtailed",
    classes: Annotated[int, typer.Option(min=1, help="Number of classes to show.")] = 10,
    *,
    folders: Folders,
    inputs: Inputs,
) -> None:
    """Compare two variants on the same test images.

    Shows differences overall, by shot group and by class. Without --grid, all grids with records.
    """
    from ltbench.analysis.pairwise import head_to_heads
    from ltbench.report.paired_tables import HEAD_TO_HEAD, Match
    from ltbench.report.table import build

    if first == second:
        raise COMPARE.error(
            "no-effect", f"expected two different variants, got {format_value(first)} twice"
        )
    loaded = folders.read()
    plans = plans_of(grids, loaded, inputs)
    if not plans:
        message = "no grid of configs/grids or of the working directory has records; pass --grid"
        raise COMPARE.error("missing-record", message)
    rows = [(plan, row) for plan in plans for row in plan.rows if not row.needed_for_ua]
    raise_all(_unknown_names(rows, (first, second), dataset, recipe))
    chosen = [
        (plan, row)
        for plan, row in rows
        if row.split == split
        if dataset in (None, row.dataset.id, row.dataset.name)
        if recipe in (None, row.recipe.name)
    ]
    matches = head_to_heads(chosen, loaded.records, (first, second))
    if not matches:
        raise COMPARE.error(
            "missing-record",
            f"no dataset and recipe has both {format_value(first)} and {format_value(second)}",
        )
    problems: list[Problem] = []
    for match in matches:
        comparison = match.compare()
        if comparison is None:
            problems.append(COMPARE.problem("missing-record", *_missing_results(match)))
            continue
        for table in build(HEAD_TO_HEAD, Match(match, comparison, classes)):
            print_report(table)
    print_bad(loaded.bad)
    if len(problems) == len(matches):
        raise_all(problems)
    for problem in problems:
        print_text(problem.described())


def _unknown_names(
    rows: "Sequence[tuple[Plan, PlannedRun]]",
    variants: Sequence[str],
    dataset: str | None,
    recipe: str | None,
) -> Iterator[Problem]:
    """Yield the variants, the dataset and the recipe that no run has."""
    labels = {row.variant.label for _, row in rows}
    datasets = {name for _, row in rows for name in (row.dataset.id, row.dataset.name)}
    names: tuple[tuple[Code, str | None, set[str]], ...] = (
        *(("unknown-variant", variant, labels) for variant in variants),
        ("unknown-dataset", dataset, datasets),
        ("unknown-recipe", recipe, {row.recipe.name for _, row in rows}),
    )
    grids = list(dict.fromkeys(plan.grid.name for plan, _ in rows))
    where = f"the grid{'s' if len(grids) > 1 else ''} {', '.join(grids)}"
    for code, name, known in names:
        if name is not None and name not in known:
            message = f"no {code.removeprefix('unknown-')} {format_value(name)} in {where}"
            yield COMPARE.problem(code, message, did_you_mean(name, known))


def _missing_results(match: "HeadToHead") -> tuple[str, str]:
    """Return why two variants cannot be compared, and what to do."""
    without = [label for label, runs in zip(match.labels, match.runs, strict=True) if not runs]
    why = "no seed has both with the same test images"
    if without:
        why = f"no record of {' or '.join(map(format_value, without))}"
    return f"{match.setting}: {why}", f"`ltbench run --grid {match.grid}` trains the missing jobs"
