"""Boards as tables: pure functions to a small model that `render` turns into text."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from fractions import Fraction

from ltbench.analysis.board import (
    DECIMALS,
    EMPTY,
    TITLES,
    Board,
    Entry,
    Metric,
    State,
    Value,
    bad_images_note,
)
from ltbench.analysis.published import Comparable, Figure, PublishedBy, comparable, misprints
from ltbench.analysis.shifted_accuracy import shifted_accuracy
from ltbench.analysis.statistics import summarise
from ltbench.config.catalogue import MethodInfo
from ltbench.core.exact import fixed
from ltbench.core.groups import GROUPS, RULES
from ltbench.core.nouns import TestTime
from ltbench.core.open_set import THRESHOLDS
from ltbench.core.shifts import SHIFTS, Shift
from ltbench.runs.record import Record
from ltbench.runs.store import Stored

TEST_TIME: dict[TestTime, str] = {
    "fixed": "nothing",
    "adapted": "unlabelled images",
    "prior-known": "class frequencies",
}
PUBLISHERS: dict[PublishedBy, str] = {"survey": "Survey", "papers": "Papers"}


@dataclass(frozen=True)
class Cell:
    """A text, a value, or a value with the text that a person reads in its place.

    `rank` 1 is best, 2 second; `notes` number the table's notes from 1.
    """

    text: str = ""
    value: Value | None = None
    rank: int = 0
    notes: tuple[int, ...] = ()


@dataclass(frozen=True)
class Table:
    """Columns, rows of one cell a column, and notes.

    `name` tells the tables of a board apart; the first `names` columns tell its rows apart.
    """

    name: str
    title: str
    caption: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    notes: tuple[str, ...] = ()
    names: int = 1


@dataclass
class _Notes:
    """Footnotes in the order of their first use, each once."""

    texts: list[str] = field(default_factory=list)

    def number(self, text: str) -> int:
        if text not in self.texts:
            self.texts.append(text)
        return self.texts.index(text) + 1

    def value(self, value: Value) -> Cell:
        """Return the cell of a value, its reason as a note."""
        return Cell(value=value, notes=(self.number(value.reason),) if value.reason else ())


def main_table(board: Board, methods: Mapping[str, MethodInfo]) -> Table:
    """Return Acc, UA and RA of each variant, and on uneven test sets what weighs classes alike."""
    metrics: tuple[Metric, ...] = ("acc", "balanced_acc", "macro_f1", "ua", "ra")
    if not board.uneven_test:
        metrics = ("acc", "ua", "ra")
    notes = _Notes()
    rows = [
        [
            Cell(entry.variant.label, notes=tuple(notes.number(text) for text in entry.remarks)),
            *_about(methods.get(entry.variant.method)),
            *(notes.value(entry.values[metric]) for metric in metrics),
        ]
        for entry in board.entries
    ]
    for column, metric in enumerate(metrics, start=3):
        if metric != "ua":
            rank_column(rows, column)
    published = _published(board, ("acc", "ua", "ra"), notes)
    return Table(
        name="main",
        title=f"{board.title}: accuracy, upper reference and relative accuracy",
        caption=f"{setting(board)} UA is the better of softmax and the method itself, trained on "
        "the balanced twin; RA is Acc / UA, with its 95 % bootstrap interval over seeds."
        f"{published.caption}",
        columns=("Method", "Category", "Year", *(TITLES[m] for m in metrics), *published.columns),
        rows=published.beside(rows),
        notes=tuple(notes.texts),
    )


def groups_table(board: Board) -> Table:
    """Return the accuracy of each variant on classes with many, medium and few training images."""
    notes = _Notes()
    metrics: tuple[Metric, ...] = ("acc", *GROUPS)
    rows = [
        [Cell(entry.variant.label), *(notes.value(entry.values[metric]) for metric in metrics)]
        for entry in board.entries
    ]
    for column in range(1, len(metrics) + 1):
        rank_column(rows, column)
    published = _published(board, GROUPS, notes)
    return Table(
        name="groups",
        title=f"{board.title}: many, medium and few",
        caption=f"{setting(board)} Groups: {RULES[board.dataset.groups]}. "
        f"A group's accuracy is the mean over its classes.{published.caption}",
        columns=("Method", *(TITLES[metric] for metric in metrics), *published.columns),
        rows=published.beside(rows),
        notes=tuple(notes.texts),
    )


def decoupling_table(board: Board, methods: Mapping[str, MethodInfo]) -> Table | None:
    """Return what other classifiers make of each trained network, or None where none was tried."""
    order = [key for key, info in methods.items() if info.replaces_classifier]
    built = []
    for start in board.starts:
        mine = [entry for entry in board.started_from(start) if entry.variant.method in order]
        if mine:
            built.append((start, {_classifier(entry, order): entry for entry in mine}))
    if not built:
        return None
    found = {kind: entry for _, own in built for kind, entry in own.items()}
    kinds = {kind: found[kind] for kind in sorted(found)}
    metrics: tuple[Metric, ...] = ("acc", *GROUPS)
    rows: list[list[Cell]] = []
    for start, own in built:
        for metric in metrics:
            classes = "All" if metric == "acc" else TITLES[metric]
            row = [Cell(start.label), Cell(classes), Cell(value=start.joint[metric])]
            values = (own[kind].values[metric] if kind in own else None for kind in kinds)
            row += [Cell(value=value) for value in values]
            rank_cells(row, range(2, len(row)))
            rows.append(row)
    return Table(
        name="decoupling",
        title=f"{board.title}: classifiers on decoupled representations",
        caption=f"{setting(board)} Groups: {RULES[board.dataset.groups]}. Joint is the network "
        "with the classifier that it was trained with. Best and second are marked along a row; "
        "what is blank is not in the grid.",
        columns=("Stage 1", "Classes", "Joint", *(_settings(e, methods) for e in kinds.values())),
        rows=tuple(tuple(row) for row in rows),
        names=2,
    )


def shifts_table(board: Board, records: Mapping[str, Stored]) -> Table:
    """Return the accuracy of each variant under long-tailed test sets, forward to backward.

    A variant that was tested again under the shifts has a second row, which is not ranked.
    """
    ranked: list[list[Cell]] = []
    again: list[list[Cell]] = []
    for entry in board.entries:
        acc, label = entry.values["acc"], Cell(entry.variant.label)
        found = [records[key].record for key in acc.keys]
        expected = (over_seeds(acc, {r.key: _expected(r, s) for r in found}) for s in SHIFTS)
        ranked.append([label, Cell(TEST_TIME["fixed"]), *(Cell(value=v) for v in expected)])
        tested = {record.key: record.shifted for record in found if record.shifted}
        kinds = " or ".join(sorted({TEST_TIME[tests.test_time] for tests in tested.values()}))
        measured = (
            over_seeds(acc, {key: tests.accuracy(s) for key, tests in tested.items()})
            for s in SHIFTS
        )
        again.append([label, Cell(kinds), *(Cell(value=v) for v in measured)] if tested else [])
    for column in range(2, len(SHIFTS) + 2):
        rank_column(ranked, column)
    rows = [row for pair in zip(ranked, again, strict=True) for row in pair if row]
    return Table(
        name="shifts",
        title=f"{board.title}: under other test frequencies",
        caption=f"{setting(board)} The test classes are exponentially long-tailed by the ratio "
        "named: forward like training, backward its reverse. What sees nothing of the test set is "
        "a fixed predictor: its expected accuracy, from the counts of the whole test, is ranked. "
        "What adapts to unlabelled test images, or is told how frequent their classes are, was "
        "tested again on images chosen for each shift; the accuracy on them is not ranked.",
        columns=("Method", "Seen of the test", *(shift.title for shift in SHIFTS)),
        rows=tuple(tuple(row) for row in rows),
        names=2,
    )


def _expected(record: Record, shift: Shift) -> Fraction | None:
    test, counts = record.test, record.split.longtailed_counts
    return None if test is None else shifted_accuracy(test.hits, test.totals, counts, shift)


def over_seeds(acc: Value, fractions: Mapping[str, Fraction | None]) -> Value:
    """Return what records behind an accuracy have in its place, by their keys, in percent."""
    known = {key: 100 * value for key, value in fractions.items() if value is not None}
    if not known:
        return acc
    n, summary = len(known), summarise(list(known.values()))
    state: State = acc.state if n == acc.n else "partial"
    return replace(acc, mean=summary.mean, std=summary.std, n=n, state=state, keys=tuple(known))


def open_set_table(board: Board, records: Mapping[str, Stored]) -> Table | None:
    """Return open-set F-measures of the variants, or None where no record has any."""
    found = {
        key: test.fingerprint
        for entry in board.entries
        for key in entry.values["acc"].keys
        if (test := records[key].record.open_set) and test.dataset == board.dataset.open_set
    }
    versions = Counter(found.values()).most_common()
    rows = []
    for entry in board.entries:
        acc = entry.values["acc"]
        tested = {
            key: records[key].record.f_measures()
            for key in acc.keys
            if key in found and found[key] == versions[0][0]
        }
        if tested:
            values = (
                over_seeds(acc, {key: measures.get(t) for key, measures in tested.items()})
                for t in THRESHOLDS
            )
            rows.append([Cell(entry.variant.label), *(Cell(value=value) for value in values)])
    if not rows:
        return None
    for column in range(1, len(THRESHOLDS) + 1):
        rank_column(rows, column)
    others = " Runs tested on other images of that name are left out." if len(versions) > 1 else ""
    return Table(
        name="open set",
        title=f"{board.title}: open set {board.dataset.open_set}",
        caption=f"{setting(board)} F-measure in % on these test images together with those of "
        f"{board.dataset.open_set}, which are right where they are rejected: where the largest "
        "class probability is below the threshold of the column. 0.1 is that of Liu et al. (CVPR "
        "2019), for hundreds of classes; ten never fall below it. As in their code an image of "
        "these classes that is rejected counts against precision; in that of Kang et al. (ICLR "
        f"2020) it does not.{others}",
        columns=("Method", *(f"F at {threshold}" for threshold in THRESHOLDS)),
        rows=tuple(tuple(row) for row in rows),
    )


def ad_hoc_table(records: Sequence[Record]) -> Table | None:
    """Return records whose settings the command line overrode, or None without any."""
    if not records:
        return None
    rows, notes = [], _Notes()
    for record in records:
        job, accuracy, bad = record.job, record.accuracy, record.job.dataset.bad_images
        value = Value(state="empty", keys=(record.key,))
        if accuracy is not None:
            value = replace(value, mean=100 * accuracy, n=1, planned=1, state="complete")
        label = Cell(job.label, notes=(notes.number(bad_images_note(bad)),) if bad else ())
        words = (job.stage, job.dataset.id, job.recipe_name, job.split, str(job.seed))
        settings = Cell(", ".join(job.overrides))
        rows.append((label, *(Cell(word) for word in words), settings, Cell(value=value)))
    return Table(
        name="ad hoc",
        title="Ad hoc",
        caption="Run with settings from the command line; not ranked and in no other table.",
        columns=("Method", "Stage", "Dataset", "Recipe", "Split", "Seed", "Settings", "Acc"),
        rows=tuple(rows),
        notes=tuple(notes.texts),
        names=7,
    )


def records_table(board: Board, records: Mapping[str, Stored]) -> Table:
    """Return the record behind every number of a board, by its path below its store's root."""
    rows: list[tuple[Cell, ...]] = []
    for entry in board.entries:
        keys = [*entry.values["acc"].keys, *entry.start, *entry.values["ra"].keys]
        for key in dict.fromkeys(keys):
            if key in records:
                stored = records[key]
                job = stored.record.job
                words = (job.split, str(job.seed), stored.provenance, stored.place)
                rows.append((Cell(entry.variant.label), *(Cell(word) for word in words)))
    return Table(
        name="records",
        title=f"{board.title}: records",
        caption="The files behind the numbers, below the folder of published or of run records.",
        columns=("Method", "Split", "Seed", "Store", "Record"),
        rows=tuple(rows),
    )


def _about(facts: MethodInfo | None) -> tuple[Cell, Cell]:
    """Return category and year; a method that is not installed here has neither."""
    if facts is None:
        return Cell(EMPTY), Cell(EMPTY)
    return Cell(facts.category), Cell(EMPTY if facts.paper is None else str(facts.paper.year))


def _classifier(entry: Entry, order: Sequence[str]) -> tuple[int, str]:
    """Return which classifier of the decoupling table an entry is, in the order of columns."""
    variant = entry.variant
    hyper = json.dumps(variant.hyper, sort_keys=True) if variant.hyper else ""
    return order.index(variant.method), hyper


def _settings(entry: Entry, methods: Mapping[str, MethodInfo]) -> str:
    """Return an entry's method with the hyper-parameters that it sets."""
    hyper = ", ".join(f"{name} {value}" for name, value in sorted(entry.variant.hyper.items()))
    title = methods[entry.variant.method].title
    return f"{title} ({hyper})" if hyper else title


def setting(board: Board) -> str:
    """Return what all numbers of a board share."""
    dataset, recipe, n = board.dataset, board.recipe, len(board.seeds)
    ratio = "" if dataset.ratio is None else f", {dataset.profile}, ratio {dataset.ratio:g}"
    spread = f"mean ± sample standard deviation over n = {n} seeds" if n > 1 else "n = 1 seed"
    return (
        f"{dataset.id}: {dataset.classes} classes{ratio}. Recipe {recipe.name}: {recipe.network}, "
        f"{recipe.first.epochs} epochs, global batch {recipe.batch}. Test accuracy after the last "
        f"epoch in %, {spread}."
    )


def rank_column(rows: list[list[Cell]], column: int, *, lowest: bool = False) -> None:
    """Mark best and second in a column, the largest numbers or the lowest."""
    cells = [row[column] for row in rows]
    rank_cells(cells, range(len(cells)), lowest=lowest)
    for row, cell in zip(rows, cells, strict=True):
        row[column] = cell


def rank_cells(cells: list[Cell], positions: range, *, lowest: bool = False) -> None:
    """Mark the best and, where it is alone, the second of the complete values.

    What prints alike ties; a value without another to compare with is not marked.
    """
    shown = {
        i: round(value.mean, DECIMALS)
        for i in positions
        if (value := cells[i].value) and value.state == "complete" and value.mean is not None
    }
    if len(shown) < 2:
        return
    best, *rest = sorted(set(shown.values()), reverse=not lowest)
    alone = list(shown.values()).count(best) == 1
    for i, number in shown.items():
        if number == best:
            cells[i] = replace(cells[i], rank=1)
        elif alone and number == rest[0]:
            cells[i] = replace(cells[i], rank=2)


@dataclass(frozen=True)
class _Published:
    """Columns of published figures, and their cells for each row."""

    columns: tuple[str, ...]
    cells: tuple[tuple[Cell, ...], ...]

    @property
    def caption(self) -> str:
        """What a reader must know of the columns."""
        if not self.columns:
            return ""
        return (
            " Survey and papers: the same dataset, ratio, network and number of epochs; "
            "other settings may differ."
        )

    def beside(self, rows: list[list[Cell]]) -> tuple[tuple[Cell, ...], ...]:
        return tuple((*row, *more) for row, more in zip(rows, self.cells, strict=True))


def _published(board: Board, metrics: Sequence[Metric], notes: _Notes) -> _Published:
    """Return a column for each publisher and metric with a figure for a variant of the board."""
    beside = comparable(board)
    wanted: list[tuple[PublishedBy, Metric]] = [(by, m) for by in PUBLISHERS for m in metrics]
    columns = [
        (by, metric)
        for by, metric in wanted
        if any(beside.of(entry, metric, by) for entry in board.entries)
    ]
    return _Published(
        columns=tuple(f"{PUBLISHERS[by]} {TITLES[metric]}" for by, metric in columns),
        cells=tuple(
            tuple(_figures(beside.of(entry, metric, by), beside, notes) for by, metric in columns)
            for entry in board.entries
        ),
    )


def _figures(figures: list[Figure], beside: Comparable, notes: _Notes) -> Cell:
    """Return published figures as one cell, a range where they differ, the sources as notes."""
    if not figures:
        return Cell(EMPTY)
    values = sorted({figure.value for figure in figures})
    if len(values) == 1:
        text = printed(values[0])
        numbers = [notes.number(f"{figure.source}.") for figure in figures]
    else:
        text = f"{printed(values[0])} to {printed(values[-1])}"
        numbers = [notes.number(f"{f.source}: {printed(f.value)}.") for f in figures]
    for figure, computed in misprints(beside.figures).items():
        if figure in figures:
            wrong = f"Printed as {printed(figure.value)}; Acc / UA is {fixed(computed, DECIMALS)}."
            numbers.append(notes.number(wrong))
    return Cell(text, notes=tuple(numbers))


def printed(value: Fraction) -> str:
    """Return a published figure with the decimals that it came with, at least one."""
    return fixed(value, DECIMALS) if round(value, DECIMALS) == value else f"{float(value):g}"
