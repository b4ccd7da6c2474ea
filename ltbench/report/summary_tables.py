"""Tables over boards: recipes, ad hoc runs, records, findings, ranks, problems."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from fractions import Fraction
from itertools import chain

from ltbench.analysis.findings import FindingVerdict, Result
from ltbench.analysis.metrics import Metric, metrics_in
from ltbench.analysis.result_set import Estimate, ResultSet, VariantResult, bad_images_note
from ltbench.core.exact import fixed, significant
from ltbench.report.context import BoardContext, Leaderboard, metric_column
from ltbench.report.table import ORDINAL, PERCENT, RANK, Cell, Column, TableSpec
from ltbench.runs.record import Record
from ltbench.runs.store import BadRecord, Stored


def _recipe_columns(boards: Sequence[ResultSet]) -> list[Column[str]]:
    return [
        Column("Method", lambda label: label, names=True),
        *(
            _recipe_column(board, metric)
            for board in boards
            for metric in metrics_in("main")
            if not metric.uneven
        ),
    ]


def _recipe_column(board: ResultSet, metric: Metric) -> Column[str]:
    column, entries = metric_column(metric), {entry.variant.label: entry for entry in board.entries}
    return Column(
        f"{column.title}, {board.recipe.name}",
        lambda label: column.cell(entries[label]) if label in entries else "",
        column.kind,
        column.best,
        column.marked,
        caption=f"{board.recipe.name}: {board.recipe.stage1.epochs} epochs.",
    )


RECIPES_TABLE: TableSpec[Sequence[ResultSet], str] = TableSpec(
    name="recipes",
    title=lambda boards: (
        f"{boards[0].title}, {boards[0].recipe.network}: recipes side by side "
        f"(grid {boards[0].grid})"
    ),
    caption=lambda boards: (
        f"{boards[0].dataset.id}. Each column is one recipe and ranked separately; for values that "
        "are n/a, the recipe's own table has the reason."
    ),
    columns=_recipe_columns,
    rows=lambda boards: dict.fromkeys(e.variant.label for board in boards for e in board.entries),
)
"""Of boards with the same dataset and network under different recipes."""


RUN_SETTINGS: dict[str, Callable[[Record], str]] = {
    "Stage": lambda record: record.job.stage,
    "Dataset": lambda record: record.job.dataset.id,
    "Recipe": lambda record: record.job.recipe_name,
    "Split": lambda record: record.job.split,
    "Settings": lambda record: ", ".join(record.job.overrides),
}
"""Settings in which ad hoc runs may differ."""


def _shared(records: Sequence[Record]) -> dict[str, str]:
    """Return the settings that are the same in all records."""
    values = {title: {of(record) for record in records} for title, of in RUN_SETTINGS.items()}
    return {title: texts.pop() for title, texts in values.items() if len(texts) == 1}


def _ad_hoc_caption(records: Sequence[Record]) -> str:
    shared = [f"{title.lower()} {text}" for title, text in _shared(records).items()]
    caption = "Runs with command-line settings; not ranked and in no other table."
    return f"{caption} All: {'; '.join(shared)}." if shared else caption


def _ad_hoc_columns(records: Sequence[Record]) -> list[Column[Record]]:
    shared = _shared(records)
    return [
        Column("Method", _ad_hoc_label, names=True),
        *(
            Column(title, of, names=True)
            for title, of in RUN_SETTINGS.items()
            if title not in shared
        ),
        Column("Seed", lambda record: str(record.job.seed), names=True),
        Column("Acc", _accuracy, PERCENT, "highest", always=True),
    ]


def _ad_hoc_label(record: Record) -> Cell:
    bad = record.job.dataset.bad_images
    return Cell(record.job.label, notes=(bad_images_note(bad),) if bad else ())


def _accuracy(record: Record) -> Estimate:
    if record.accuracy is None:
        return Estimate(state="empty", keys=(record.key,))
    return Estimate(100 * record.accuracy, n=1, planned=1, state="complete", keys=(record.key,))


AD_HOC_TABLE: TableSpec[Sequence[Record], Record] = TableSpec(
    name="ad hoc",
    title=lambda _: "Ad hoc",
    caption=_ad_hoc_caption,
    columns=_ad_hoc_columns,
    rows=lambda records: records,
)
"""Of records with overridden settings; the caption names the settings that all share."""


def _variant_records(of: BoardContext) -> list[tuple[VariantResult, Stored]]:
    """Return the records behind the numbers of each variant."""
    return [
        (entry, of.records[key])
        for entry in of.entries
        for key in dict.fromkeys(
            [*entry.values["acc"].keys, *entry.init_jobs, *entry.values["ra"].keys]
        )
        if key in of.records
    ]


RECORDS_TABLE: TableSpec[BoardContext, tuple[VariantResult, Stored]] = TableSpec(
    name="records",
    title=lambda of: f"{of.board.title}: records",
    caption=lambda _: (
        "The records behind the numbers, also of balanced runs and of the jobs that a method "
        "starts from, with their own accuracies. The end of a record's name is the job's key, a "
        "hash of all settings that can change its numbers."
    ),
    columns=lambda _: [
        Column("Method", lambda row: row[0].variant.label, names=True),
        Column("Split", lambda row: row[1].record.job.split, names=True),
        Column("Seed", lambda row: row[1].record.job.seed, ORDINAL, "lowest"),
        Column("Acc", lambda row: _accuracy(row[1].record), PERCENT, "highest"),
        Column("Version", lambda row: f"v{row[1].record.job.version}"),
        Column("Date", lambda row: row[1].record.environment.finished.date().isoformat()),
        Column(
            "Hardware",
            lambda row: row[1].record.environment.hardware,
            if_constant="Hardware: {}.",
        ),
        Column("Store", lambda row: row[1].provenance),
        Column("Record", lambda row: row[1].name),
    ],
    rows=_variant_records,
)


Results = tuple[Result, ...]
"""Results of a finding that are equal on grids under the same recipe."""


def tested_findings(of: Leaderboard) -> list[list[Results]]:
    """Return the results of each tested finding by board, equal ones together."""
    tested: list[list[Results]] = []
    for finding in of.findings:
        alike: dict[tuple[str, str, str], list[Result]] = {}
        for each in of.tested:
            if each.finding is finding:
                alike.setdefault((each.board.id, each.ours, each.verdict), []).append(each)
        if alike:
            tested.append([tuple(results) for results in alike.values()])
    return tested


TALLY: Mapping[str, FindingVerdict] = {
    "hold on every board": "holds",
    "hold on some boards": "not significant",
    "hold on none, and are not reversed": "not significant",
    "hold on none, and are reversed on some": "not in this setting",
    "not tested yet": "not testable",
}
"""What claims do over their boards, and the verdict whose style it has."""


def findings_tally(of: Leaderboard) -> Counter[str]:
    """Count the claims by what they do over their boards (`TALLY`)."""
    everywhere, somewhere, nowhere, reversed_, untested = TALLY
    tally = Counter({untested: of.untested})
    for boards in tested_findings(of):
        verdicts = {results[0].verdict for results in boards}
        if "holds" in verdicts:
            tally[everywhere if len(verdicts) == 1 else somewhere] += 1
        else:
            tally[reversed_ if "not in this setting" in verdicts else nowhere] += 1
    return tally


def board_names(results: Results) -> str:
    """Return grids, dataset and recipe of results."""
    return f"{', '.join(each.board.grid for each in results)}: {results[0].board.id}"


def findings_caption(of: Leaderboard) -> str:
    """Return what findings are, and how many are not tested yet."""
    caption = (
        "Claims of the literature with the published numbers, our numbers, and a verdict: paired "
        "tests of the trained networks at 5 %, with Holm's correction, and 95 % intervals over "
        "seeds and images, which are not corrected for the number of comparisons. Borderline "
        "verdicts may change with other seeds, of which fewer than three say little."
    )
    if not of.untested:
        return caption
    untested = f"{of.untested} of {len(of.findings)} claims"
    return f"{caption} Not tested yet, for lack of results here: {untested}."


FINDINGS_TABLE: TableSpec[Leaderboard, Results] = TableSpec(
    name="findings",
    title=lambda _: "Findings",
    caption=findings_caption,
    columns=lambda _: [
        Column("Claim", lambda row: row[0].finding.claim, names=True),
        Column("Source", lambda row: row[0].finding.source),
        Column("Published", lambda row: row[0].finding.published),
        Column("Board", board_names, names=True),
        Column("Ours", lambda row: row[0].ours),
        Column("Cause", lambda row: row[0].cause),
        Column("Verdict", lambda row: row[0].verdict),
    ],
    rows=lambda of: [*chain.from_iterable(tested_findings(of))],
)
"""Of findings that a board can test; the caption counts the others."""


def _ranked(of: Leaderboard) -> list[tuple[str, Fraction, str]]:
    """Return each variant, its mean rank, and its groups."""
    if of.ranks is None:
        return []
    _, ranks = of.ranks
    cliques: dict[str, list[str]] = {}
    for number, names in enumerate(ranks.cliques() if ranks.separable else (), start=1):
        for name in names:
            cliques.setdefault(name, []).append(str(number))
    return [(name, rank, " ".join(cliques.get(name, []))) for name, rank in ranks.means.items()]


def _ranks_caption(of: Leaderboard) -> str:
    if of.ranks is None:
        return ""
    datasets, ranks = of.ranks
    groups = (
        "Variants that share a group are not significantly different (Wilcoxon's signed-rank test "
        "on each pair, Holm's correction, 5 %)."
        if ranks.separable
        else "On so few datasets Wilcoxon's signed-rank test with Holm's correction separates no "
        "pair, so there are no groups."
    )
    return (
        f"Mean rank by accuracy on {', '.join(datasets)}, of the variants that are complete on all "
        f"of them. Friedman test: p = {significant(ranks.friedman, 3)}; Nemenyi's critical "
        f"difference at 5 %: {fixed(ranks.critical_difference, 2)}. {groups} Ranks depend on which "
        "variants are compared."
    )


RANKS_TABLE: TableSpec[Leaderboard, tuple[str, Fraction, str]] = TableSpec(
    name="ranks",
    title=lambda of: f"Mean ranks over {len(of.ranks[0]) if of.ranks else 0} datasets",
    caption=_ranks_caption,
    columns=lambda _: [
        Column("Method", lambda row: row[0], names=True),
        Column("Mean rank", lambda row: row[1], RANK, "lowest"),
        Column("Groups", lambda row: row[2]),
    ],
    rows=_ranked,
)

PROBLEMS_TABLE: TableSpec[Leaderboard, BadRecord] = TableSpec(
    name="problems",
    title=lambda _: "Invalid records",
    caption=lambda _: "Files in the record folders that no table uses.",
    columns=lambda _: [
        Column("Store", lambda bad: bad.provenance, names=True),
        Column("File", lambda bad: bad.name, names=True),
        Column("Reason", lambda bad: bad.reason),
    ],
    rows=lambda of: of.loaded.bad,
)
