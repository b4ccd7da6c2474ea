"""Accuracy tables of a board: overall, by group, class, classifier and test."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from fractions import Fraction

from ltbench.analysis.agreement import rank_correlation
from ltbench.analysis.label_shift_accuracy import shifted_accuracy
from ltbench.analysis.metrics import METRICS, Metric, metrics_in
from ltbench.analysis.result_set import Estimate, Stage1Result, VariantResult
from ltbench.config.registry import MethodInfo
from ltbench.core.exact import fixed, measured
from ltbench.core.groups import GROUPS, RULES, Group
from ltbench.core.label_shift import SHIFTS, Shift
from ltbench.core.open_set import THRESHOLDS
from ltbench.core.types import TestTime
from ltbench.report.context import ACC, LABEL, BoardContext, metric_column, over_seeds
from ltbench.report.families import listed_method
from ltbench.report.published_tables import published_columns
from ltbench.report.table import COUNT, ORDINAL, PERCENT, Column, TableSpec, ranked
from ltbench.runs.record import Record

MAX_CLASSES = 200
"""Classes up to which a board has a table of single classes."""

CLASS_VARIANTS = 6
"""Variants in the table of single classes."""

CORRELATED = 10
"""Variants from which on metrics are correlated with accuracy."""

JOINT = "Joint: the stage-1 network with the classifier it was trained with."

TEST_TIME: dict[TestTime, str] = {
    "inductive": "nothing",
    "transductive": "unlabeled images",
    "known_test_prior": "class frequencies",
}
"""What a method sees of the test set, by kind."""


def _main_columns(of: BoardContext) -> list[Column[VariantResult]]:
    return [
        Column("Method", of.name, names=True),
        Column("Category", lambda e: _category(e, of)),
        Column("Year", lambda e: _year(e, of), ORDINAL),
        *(metric_column(each, explained=each.compute is None) for each in of.main_metrics),
        *published_columns(of, of.main_metrics),
    ]


def _info(entry: VariantResult, of: BoardContext) -> MethodInfo | None:
    return of.methods.get(listed_method(entry, of.methods))


def _category(entry: VariantResult, of: BoardContext) -> str | None:
    info = _info(entry, of)
    return None if info is None else info.category


def _year(entry: VariantResult, of: BoardContext) -> int | None:
    info = _info(entry, of)
    return None if info is None or info.paper is None else info.paper.year


MAIN_TABLE: TableSpec[BoardContext, VariantResult] = TableSpec(
    name="main",
    title=lambda of: (
        f"{of.board.title}: accuracy"
        f"{', upper reference and relative accuracy' if of.has_ra else ''}"
    ),
    caption=lambda of: of.setting,
    columns=_main_columns,
    rows=lambda of: of.entries,
    brief=True,
)

BY_GROUP_TABLE: TableSpec[BoardContext, VariantResult] = TableSpec(
    name="groups",
    title=lambda of: f"{of.board.title}: many, medium and few",
    caption=lambda of: (
        f"{of.setting} {of.rule} The accuracy of a group is the mean over its classes."
    ),
    columns=lambda of: [
        LABEL,
        metric_column(ACC),
        *(metric_column(metric) for metric in metrics_in("groups")),
        *published_columns(of, metrics_in("groups")),
    ],
    rows=lambda of: of.entries,
    brief=True,
)


def _correlations(of: BoardContext) -> str:
    """Return the rank correlation of each further metric with accuracy."""
    found = []
    for metric in metrics_in("more"):
        both = [(e.values[ACC.key].mean, e.values[metric.key].mean) for e in of.entries]
        pairs = [(acc, other) for acc, other in both if acc is not None and other is not None]
        if len(pairs) < CORRELATED or any(len(set(each)) == 1 for each in zip(*pairs, strict=True)):
            continue
        found.append(f"{metric.title} {fixed(rank_correlation(*zip(*pairs, strict=True)), 2)}")
    return f" Rank correlation with Acc over variants: {', '.join(found)}." if found else ""


MORE_TABLE: TableSpec[BoardContext, VariantResult] = TableSpec(
    name="metrics",
    title=lambda of: f"{of.board.title}: more metrics",
    caption=lambda of: f"{of.setting}{_correlations(of)}",
    columns=lambda _: [
        LABEL,
        *(metric_column(metric, explained=True) for metric in metrics_in("more")),
    ],
    rows=lambda of: of.entries,
)


@dataclass(frozen=True)
class _Network:
    """A stage-1 network, a metric, and its variants by classifier."""

    stage1: Stage1Result
    metric: Metric
    entries: Mapping[tuple[int, str], VariantResult]

    def value(self, classifier: tuple[int, str]) -> Estimate | str:
        entry = self.entries.get(classifier)
        return "" if entry is None else entry.values[self.metric.key]


def _networks(of: BoardContext) -> list[_Network]:
    metrics = [ACC, *metrics_in("groups")]
    return [
        _Network(stage1, metric, entries)
        for stage1 in of.board.stage1_results
        if (entries := _classifiers(of.board.initialized_from(stage1), of))
        for metric in metrics
    ]


def _classifiers(
    entries: Sequence[VariantResult], of: BoardContext
) -> dict[tuple[int, str], VariantResult]:
    """Return the variants that only replace the classifier, by column."""
    order = [key for key, info in of.methods.items() if info.replaces_classifier]
    by_column = {
        (order.index(e.variant.method), _hparams(e)): e
        for e in entries
        if e.variant.method in order
    }
    return dict(sorted(by_column.items()))


def _hparams(entry: VariantResult) -> str:
    return json.dumps(entry.variant.hparams, sort_keys=True) if entry.variant.hparams else ""


def _decoupling_columns(of: BoardContext) -> list[Column[_Network]]:
    stage1_results = of.board.stage1_results
    entries = [e for stage1 in stage1_results for e in of.board.initialized_from(stage1)]
    return [
        Column("Stage 1", lambda row: row.stage1.label, names=True),
        Column("Classes", lambda row: "All" if row.metric is ACC else row.metric.title, names=True),
        ranked("Joint", lambda row: row.stage1.joint[row.metric.key], caption=JOINT),
        *(
            _classifier_column(classifier, _settings(entry, of))
            for classifier, entry in _classifiers(entries, of).items()
        ),
    ]


def _classifier_column(classifier: tuple[int, str], title: str) -> Column[_Network]:
    return ranked(title, lambda row: row.value(classifier))


def _settings(entry: VariantResult, of: BoardContext) -> str:
    """Return a variant's method with the hyper-parameters it sets."""
    hparams = ", ".join(f"{name} {value}" for name, value in sorted(entry.variant.hparams.items()))
    title = of.methods[entry.variant.method].title
    return f"{title} ({hparams})" if hparams else title


DECOUPLING_TABLE: TableSpec[BoardContext, _Network] = TableSpec(
    name="decoupling",
    title=lambda of: f"{of.board.title}: classifiers on decoupled representations",
    caption=lambda of: (
        f"{of.setting} {of.rule} Best and second are marked along a row; blank cells are not in "
        "the grid."
    ),
    columns=_decoupling_columns,
    rows=_networks,
    along="rows",
    brief=True,
)


def _calibration_columns(of: BoardContext) -> list[Column[VariantResult]]:
    return [
        LABEL,
        metric_column(ACC, marked=False),
        *(metric_column(metric) for metric in metrics_in("calibration")),
        Column("Confidence", lambda e: _confidence(e, of), PERCENT),
        *(_group_error(of, group) for group in GROUPS),
    ]


def _confidence(entry: VariantResult, of: BoardContext) -> Estimate:
    tests = {record.key: record.test for record in of.records_of(entry)}
    return over_seeds(
        entry.values["acc"],
        {key: test.calibration.mean_confidence for key, test in tests.items() if test},
    )


def _group_error(of: BoardContext, group: Group) -> Column[VariantResult]:
    """Return the column of the calibration error of a shot group."""

    def error(entry: VariantResult) -> Estimate:
        calibrations = {r.key: r.test.group_calibration for r in of.records_of(entry) if r.test}
        errors = {
            key: measured(by_group[group].ece) if group in by_group else None
            for key, by_group in calibrations.items()
        }
        return over_seeds(entry.values["acc"], errors)

    by = f"By groups: {RULES[of.board.dataset.shot_rule]}."
    return ranked(f"ECE {METRICS[group].title}", error, "lowest", caption=by)


CALIBRATION_TABLE: TableSpec[BoardContext, VariantResult] = TableSpec(
    name="calibration",
    title=lambda of: f"{of.board.title}: calibration",
    caption=lambda of: (
        f"{of.setting} ECE: mean difference in % between confidence, the largest class "
        "probability, and accuracy in 15 bins of equal width, weighted by images (Naeini et al., "
        "AAAI 2015); the lowest is marked as best. A mean confidence above Acc means "
        "overconfidence. Probabilities are the softmax of a method's scores, even if these are "
        "not log-probabilities, such as the distances of NCM."
    ),
    columns=_calibration_columns,
    rows=lambda of: of.entries,
)


@dataclass(frozen=True)
class _Shifted:
    """A variant under label shift: expected accuracies, or those tested again."""

    label: str
    seen: str
    values: Mapping[Shift, Estimate]
    tested_again: bool = False


def _shifted(of: BoardContext) -> list[_Shifted]:
    rows = []
    for entry in of.entries:
        acc, label, records = entry.values["acc"], entry.variant.label, of.records_of(entry)
        expected = {s: over_seeds(acc, {r.key: _expected(r, s) for r in records}) for s in SHIFTS}
        rows.append(_Shifted(label, TEST_TIME["inductive"], expected))
        tested = {record.key: record.shifted for record in records if record.shifted}
        if tested:
            kinds = " or ".join(sorted({TEST_TIME[tests.test_time] for tests in tested.values()}))
            accuracies = {
                s: over_seeds(acc, {key: tests.accuracy(s) for key, tests in tested.items()})
                for s in SHIFTS
            }
            rows.append(_Shifted(label, kinds, accuracies, tested_again=True))
    return rows


def _expected(record: Record, shift: Shift) -> Fraction | None:
    test, counts = record.test, record.split.longtailed_counts
    return None if test is None else shifted_accuracy(test.hits, test.totals, counts, shift)


def _under(shift: Shift) -> Column[_Shifted]:
    return ranked(shift.title, lambda row: row.values[shift])


SHIFTED_TABLE: TableSpec[BoardContext, _Shifted] = TableSpec(
    name="shifts",
    title=lambda of: f"{of.board.title}: label shift",
    caption=lambda of: (
        f"{of.setting} The test classes are exponentially long-tailed with the ratio of the "
        "column: forward has the order of the training classes, backward the reverse. Inductive "
        "methods, which see nothing of the test set, have their expected accuracy, computed from "
        "the counts of the whole test; it is ranked. Methods that adapt to the unlabeled test "
        "images, or are given the class frequencies, were tested again on images chosen for each "
        "shift; that accuracy is not ranked."
    ),
    columns=lambda _: [
        Column("Method", lambda row: row.label, names=True),
        Column("Seen of the test", lambda row: row.seen, names=True),
        *map(_under, SHIFTS),
    ],
    rows=_shifted,
    compared=lambda row: not row.tested_again,
)


@dataclass(frozen=True)
class _OpenSet:
    """F-measures of a variant by threshold."""

    label: str
    values: Mapping[float, Estimate]


def _open_set(of: BoardContext) -> list[_OpenSet]:
    name = of.board.dataset.open_set
    tests = {
        entry.variant.label: {
            r.key: r for r in of.records_of(entry) if r.open_set and r.open_set.dataset == name
        }
        for entry in of.entries
    }
    counts = Counter(_fingerprint(r) for found in tests.values() for r in found.values())
    rows = []
    for entry in of.entries:
        found = tests[entry.variant.label].items()
        measures = {
            key: r.f_measures()
            for key, r in found
            if _fingerprint(r) == counts.most_common(1)[0][0]
        }
        if measures:
            values = {
                t: over_seeds(entry.values["acc"], {key: f[t] for key, f in measures.items()})
                for t in THRESHOLDS
            }
            rows.append(_OpenSet(entry.variant.label, values))
    return rows


def _fingerprint(record: Record) -> str:
    return "" if record.open_set is None else record.open_set.fingerprint


def _at(threshold: float) -> Column[_OpenSet]:
    return ranked(f"F at {threshold}", lambda row: row.values[threshold])


OPEN_SET_TABLE: TableSpec[BoardContext, _OpenSet] = TableSpec(
    name="open set",
    title=lambda of: f"{of.board.title}: open set {of.board.dataset.open_set}",
    caption=lambda of: (
        f"{of.setting} F-measure in % on the test images together with those of "
        f"{of.board.dataset.open_set}, which have to be rejected: an image is rejected if its "
        "largest class probability is below the threshold of the column. 0.1 is the threshold of "
        "Liu et al. (CVPR 2019), for hundreds of classes; with ten classes no probability is "
        "below it. As in their code, a rejected image of a known class counts against precision; "
        "in that of Kang et al. (ICLR 2020) it does not. If runs were tested on different versions "
        "of the open-set images, the version of most runs counts."
    ),
    columns=lambda _: [
        Column("Method", lambda row: row.label, names=True),
        *map(_at, THRESHOLDS),
    ],
    rows=_open_set,
)


@dataclass(frozen=True)
class _Class:
    """A class of a dataset."""

    k: int
    name: str
    group: Group
    trained_on: int
    tested_on: int


def _single_classes(of: BoardContext) -> list[_Class]:
    """Return the classes of a tested board, the largest first."""
    if of.board.dataset.classes > MAX_CLASSES:
        return []
    records = (record for entry in of.entries for record in of.records_of(entry))
    for record in records:
        if record.test is not None:
            split, totals = record.split, record.test.totals
            counts = split.longtailed_counts
            facts = zip(split.classes, record.groups, counts, totals, strict=True)
            rows = [_Class(k, *each) for k, each in enumerate(facts)]
            return sorted(rows, key=lambda row: -row.trained_on)
    return []


def _tested_on(row: _Class) -> int:
    return row.tested_on


def _variant_column(entry: VariantResult, of: BoardContext) -> Column[_Class]:
    """Return the column of a variant's accuracy per class."""
    tests = {r.key: r.test for r in of.records_of(entry) if r.test}

    def accuracy(row: _Class) -> Estimate:
        rates = {
            key: Fraction(test.hits[row.k], test.totals[row.k]) if test.totals[row.k] else None
            for key, test in tests.items()
        }
        return over_seeds(entry.values["acc"], rates)

    return ranked(entry.variant.label, accuracy)


CLASSES_TABLE: TableSpec[BoardContext, _Class] = TableSpec(
    name="classes",
    title=lambda of: f"{of.board.title}: each class",
    caption=lambda of: (
        f"{of.setting} {of.rule} Accuracy of each class for the most accurate variants, and "
        "softmax. Training images: of the long-tailed split. Best and second are marked along a "
        "row."
    ),
    columns=lambda of: [
        Column("Class", lambda row: row.name, names=True),
        Column("Group", lambda row: row.group),
        Column("Training images", lambda row: row.trained_on, COUNT),
        *([Column("Test images", _tested_on, COUNT)] if of.board.uneven_test else []),
        *(_variant_column(entry, of) for entry in of.leading(CLASS_VARIANTS)),
    ],
    rows=_single_classes,
    along="rows",
)
