"""The ordered registry of metrics: one entry per metric.

A metric is a fraction, exact and the same on any processor, that is printed in percent. To add one,
add an entry to `_ENTRIES`; a plugin adds its own by a module-level `METRICS = [Metric(...)]`.
"""

import traceback
from collections.abc import Callable, Collection
from dataclasses import dataclass
from fractions import Fraction
from math import lcm, prod
from pathlib import Path
from typing import Literal, get_args

from ltbench.config.base import refusal
from ltbench.config.errors import Location, did_you_mean, format_value
from ltbench.config.yaml_file import display
from ltbench.core.exact import mean, mean_accuracy, measured, root
from ltbench.core.groups import GROUPS, Group
from ltbench.runs.record import EvaluationResult, Record

TableName = Literal["main", "groups", "calibration", "more"]
TABLES: tuple[TableName, ...] = get_args(TableName)
Best = Literal["highest", "lowest"]
BEST: tuple[Best | None, ...] = (*get_args(Best), None)


@dataclass(frozen=True)
class EvaluatedRun:
    """Input of a metric: a record, a test, and shot groups.

    Attributes:
        record: of the run.
        test: of the record, or of the same network on other images.
        groups: [C], the shot group of each class.
    """

    record: Record
    test: EvaluationResult
    groups: tuple[Group, ...]


Compute = Callable[[EvaluatedRun], Fraction | None]


@dataclass(frozen=True)
class Metric:
    """A metric of a trained network: a fraction, printed in percent.

    Attributes:
        key: its name in the table of runs and in findings.
        title: of its column.
        help: its definition, for readers.
        compute: computes it for one run, None if the record lacks the input. `compute` itself is
            None for metrics of several runs, which `result_set` computes.
        best: whether high or low values are better, None if neither.
        uneven: whether it only differs from others if test classes have unequal sizes.
        table: the table of a board that has its column.
        published: its name in `reference/published.csv`.
    """

    key: str
    title: str
    help: str
    compute: Compute | None
    best: Best | None = "highest"
    uneven: bool = False
    table: TableName = "more"
    published: str | None = None

    def __post_init__(self) -> None:
        """Check key, title, table and direction."""
        if not self.key.isidentifier():
            raise ValueError(f"the key of a metric is an identifier, not {self.key!r}")
        if not self.title.strip() or not self.title.isprintable():
            raise ValueError(f"{self.key}: the title is printable text, not {self.title!r}")
        for value, allowed in ((self.table, TABLES), (self.best, BEST)):
            if value not in allowed:
                raise ValueError(f"{self.key}: {value!r} is not one of {allowed}")

    def of(self, run: EvaluatedRun) -> Fraction | None:
        """Return the metric of a run, None if its record lacks input.

        Raises:
            ConfigError: if it cannot be computed, or is not a Fraction.
        """
        location = Location(f"metric {self.key}")
        try:
            value = self.compute(run) if self.compute else None
        except Exception as error:
            at = traceback.extract_tb(error.__traceback__)[-1]
            where = f"{display(Path(at.filename))}:{at.lineno}"
            message = f"fails: {type(error).__name__}: {error} ({where})"
            raise location.error("plugin", message) from error
        if not isinstance(value, Fraction | None):
            raise location.error(
                "plugin", f"is a {type(value).__name__}; it has to be a Fraction or None"
            )
        return value


def macro_f1(test: EvaluationResult) -> Fraction:
    """Return the macro F1 over the classes of the test set.

    F1 of a class is the harmonic mean of recall, hits / totals, and precision, hits / predicted:
    2 hits / (totals + predicted).
    """
    counts = zip(test.hits, test.totals, test.predicted, strict=True)
    return mean([Fraction(2 * hits, n + predicted) for hits, n, predicted in counts if n])


def macro_precision(test: EvaluationResult) -> Fraction:
    """Return the macro precision over the classes of the test set.

    Precision of a class is hits / predicted, and 0 if it is never predicted.
    """
    counts = zip(test.hits, test.totals, test.predicted, strict=True)
    return mean([Fraction(hits, max(predicted, 1)) for hits, n, predicted in counts if n])


def worst_class(test: EvaluationResult) -> Fraction:
    """Return the lowest recall of a class of the test set."""
    common = lcm(*(set(test.totals) - {0}))
    counts = zip(test.hits, test.totals, strict=True)
    return Fraction(min(hits * (common // n) for hits, n in counts if n), common)


def prediction_skew(test: EvaluationResult) -> Fraction:
    """Return the total variation distance of predicted from test classes.

    It is the share of the test images that would need another prediction for each class to be
    predicted as often as it occurs.
    """
    surplus = sum(abs(p - n) for p, n in zip(test.predicted, test.totals, strict=True))
    return Fraction(surplus, 2 * sum(test.totals))


def geometric_mean(test: EvaluationResult) -> Fraction:
    """Return the geometric mean of the recalls of all test classes.

    It is 0 if a recall is (Kubat and Matwin, ICML 1997). Irrational values are rounded to more
    digits than are ever printed.
    """
    tested = [(hits, n) for hits, n in zip(test.hits, test.totals, strict=True) if n]
    hits, images = (prod(counts) for counts in zip(*tested, strict=True))
    return root(Fraction(hits, images), len(tested))


def macro_auroc(test: EvaluationResult) -> Fraction | None:
    """Return the mean one-vs-rest area under the ROC curve.

    Classes with no test image, or with all of them, are ignored.
    """
    images = sum(test.totals)
    return mean_accuracy(test.auroc_pairs, [2 * n * (images - n) for n in test.totals])


def macro_auprc(test: EvaluationResult) -> Fraction:
    """Return the mean average precision over the classes of the test set."""
    return mean([measured(each) for each in test.average_precision if each is not None])


def training_accuracy(record: Record) -> Fraction | None:
    """Return the accuracy on the training images after the last epoch."""
    if record.training is None or record.training.hits is None:
        return None
    return Fraction(sum(record.training.hits), sum(record.split.train_counts))


def _group_accuracy(group: Group) -> Compute:
    return lambda run: mean_accuracy(
        run.test.hits, run.test.totals, [each == group for each in run.groups]
    )


_ENTRIES = (
    Metric(
        "acc",
        "Acc",
        "Top-1 accuracy on the test set after the last epoch in %, mean over seeds ± sample "
        "standard deviation (divisor n - 1).",
        lambda run: run.test.accuracy,
        table="main",
        published="top1",
    ),
    Metric(
        "balanced_acc",
        "Balanced acc",
        "Mean of the accuracies of all classes.",
        lambda run: mean_accuracy(run.test.hits, run.test.totals),
        uneven=True,
        table="main",
    ),
    Metric(
        "ua",
        "UA",
        "Upper reference accuracy: the higher accuracy of softmax and of the method itself, both "
        "trained on the balanced counterpart of the long-tailed set.",
        None,
        best=None,
        table="main",
        published="UA",
    ),
    Metric(
        "ra",
        "RA",
        "Relative accuracy, 100 Acc / UA, with its 95 % bootstrap interval over seeds: the share "
        "of the accuracy without imbalance that is reached with it.",
        None,
        table="main",
        published="RA",
    ),
    *(
        Metric(
            group,
            group.capitalize(),
            f"Mean accuracy over the classes with {images} training images.",
            _group_accuracy(group),
            table="groups",
            published=group,
        )
        for group, images in zip(GROUPS, ("many", "a medium number of", "few"), strict=True)
    ),
    Metric(
        "worst_class",
        "Worst class",
        "Lowest accuracy (recall) of a class.",
        lambda run: worst_class(run.test),
    ),
    Metric(
        "geometric_mean",
        "G-mean",
        "Geometric mean of the accuracies (recalls) of all classes; 0 if one of them is 0.",
        lambda run: geometric_mean(run.test),
    ),
    Metric(
        "prediction_skew",
        "Skew",
        "Total variation distance of the classes of predictions from those of test images: 0 if "
        "each class is predicted as often as it occurs, more if frequent ones are favored.",
        lambda run: prediction_skew(run.test),
        best="lowest",
    ),
    Metric(
        "macro_precision",
        "Macro precision",
        "Mean precision over classes; 0 for a class that is never predicted.",
        lambda run: macro_precision(run.test),
    ),
    Metric(
        "macro_f1",
        "Macro F1",
        "Mean F1 over classes, the harmonic mean of precision and recall.",
        lambda run: macro_f1(run.test),
    ),
    Metric(
        "auroc",
        "AUROC",
        "Mean over classes of the one-vs-rest area under the ROC curve.",
        lambda run: macro_auroc(run.test),
    ),
    Metric(
        "auprc",
        "AUPRC",
        "Mean over classes of the one-vs-rest average precision.",
        lambda run: macro_auprc(run.test),
    ),
    Metric(
        "train_acc",
        "Train acc",
        "Accuracy on the training images after the last epoch, with the test transform.",
        lambda run: training_accuracy(run.record),
        best=None,
    ),
    Metric(
        "ece",
        "ECE",
        "Expected calibration error: mean difference between confidence and accuracy in 15 bins "
        "of equal width, weighted by images.",
        lambda run: measured(run.test.calibration.ece),
        best="lowest",
        table="calibration",
    ),
)

METRICS: dict[str, Metric] = {metric.key: metric for metric in _ENTRIES}
"""Metrics by key, in the order of columns."""


def check_metric(name: str, known: Collection[str] = METRICS.keys(), what: str = "") -> None:
    """Refuse the name of an unknown metric.

    Args:
        name: of the metric.
        known: names to choose from.
        what: continues the message, as " is tested".
    """
    if name not in known:
        hint = did_you_mean(name, known) or f"one of {', '.join(known)}"
        raise refusal("unknown-value", f"no metric {format_value(name)}{what}; {hint}")


def metrics_in(table: TableName) -> list[Metric]:
    """Return the metrics with a column in a table."""
    return [metric for metric in METRICS.values() if metric.table == table]


def run_metrics() -> list[Metric]:
    """Return the metrics that are computed from one run."""
    return [metric for metric in METRICS.values() if metric.compute is not None]


def metric_values(
    record: Record, test: EvaluationResult | None = None
) -> dict[str, Fraction | None]:
    """Return the metrics of a run by key, None for missing input.

    Args:
        record: of the run.
        test: of the same network on other images; by default that of the record.
    """
    test = test or record.test
    if test is None:
        return dict.fromkeys(metric.key for metric in run_metrics())
    run = EvaluatedRun(record, test, record.groups)
    return {metric.key: metric.of(run) for metric in run_metrics()}
