"""The metrics of a trained network, in the order of columns: all that is known of each.

A metric is a fraction, exact and the same on any processor, that is printed in percent. Adding one
is adding an entry to METRICS; a plugin adds its own by a module-level `METRICS = [Metric(...)]`.
"""

from collections.abc import Callable
from dataclasses import dataclass
from fractions import Fraction
from math import prod
from typing import Literal, get_args

from ltbench.config.errors import Location
from ltbench.core.exact import mean, mean_accuracy, measured, root
from ltbench.core.groups import GROUPS, Group, class_groups
from ltbench.runs.record import EvaluationResult, Record

Table = Literal["main", "groups", "calibration", "more"]
TABLES: tuple[Table, ...] = get_args(Table)
Best = Literal["highest", "lowest"]
BEST: tuple[Best | None, ...] = (*get_args(Best), None)


@dataclass(frozen=True)
class EvaluatedRun:
    """What the metrics of a run are computed from.

    Attributes:
        record: of the run.
        test: its test, or one of the same network on other images.
        groups: [C], the group of each class.
    """

    record: Record
    test: EvaluationResult
    groups: tuple[Group, ...]


Compute = Callable[[EvaluatedRun], Fraction | None]


@dataclass(frozen=True)
class Metric:
    """A number of a trained network, a fraction that is printed in percent.

    Attributes:
        key: its name in the tables of runs and in findings.
        title: of its column.
        help: what it is, in sentences for a reader.
        compute: returns it for one run, None where the record lacks what it needs; None for what
            takes several runs, which a board computes.
        best: the values that are best, None where none are.
        uneven: whether it differs from others only where test classes have unequal sizes.
        table: the table of a board that it has a column in.
        published: its name among published figures.
    """

    key: str
    title: str
    help: str
    compute: Compute | None
    best: Best | None = "highest"
    uneven: bool = False
    table: Table = "more"
    published: str | None = None

    def __post_init__(self) -> None:
        """Refuse a key or title that no column can have, and words that nobody knows."""
        if not self.key.isidentifier() or not self.title.strip() or not self.title.isprintable():
            raise ValueError(f"a metric has a name and a title, not {self.key!r}, {self.title!r}")
        for word, known in ((self.table, TABLES), (self.best, BEST)):
            if word not in known:
                raise ValueError(f"{self.key}: {word!r} is not one of {known}")

    def of(self, run: EvaluatedRun) -> Fraction | None:
        """Return the metric of a run; None where it lacks what is needed.

        Raises:
            ConfigError: where it cannot be computed, or is no fraction.
        """
        location = Location(f"metric {self.key}")
        try:
            value = self.compute(run) if self.compute else None
        except Exception as error:
            raise location.error("plugin", f"fails: {type(error).__name__}: {error}") from error
        if not isinstance(value, Fraction | None):
            raise location.error(
                "plugin", f"is a {type(value).__name__}; it has to be a Fraction or None"
            )
        return value


def macro_f1(test: EvaluationResult) -> Fraction | None:
    """Return the mean F1 of the classes that the test set has.

    F1 of a class is the harmonic mean of recall, hits / totals, and precision, hits / predicted:
    2 hits / (totals + predicted).
    """
    if test.predicted is None:
        return None
    counts = zip(test.hits, test.totals, test.predicted, strict=True)
    return mean([Fraction(2 * hits, n + predicted) for hits, n, predicted in counts if n])


def macro_precision(test: EvaluationResult) -> Fraction | None:
    """Return the mean precision of the classes that the test set has.

    Precision of a class is hits / predicted, and 0 where it is never predicted.
    """
    if test.predicted is None:
        return None
    counts = zip(test.hits, test.totals, test.predicted, strict=True)
    return mean([Fraction(hits, max(predicted, 1)) for hits, n, predicted in counts if n])


def worst_class(test: EvaluationResult) -> Fraction:
    """Return the lowest recall of the classes that the test set has."""
    return min(Fraction(hits, n) for hits, n in zip(test.hits, test.totals, strict=True) if n)


def geometric_mean(test: EvaluationResult) -> Fraction:
    """Return the geometric mean of recalls of the classes that the test set has.

    It is 0 where a recall is (Kubat and Matwin, ICML 1997); of irrational ones `root` has more
    digits than are ever printed.
    """
    there = [(hits, n) for hits, n in zip(test.hits, test.totals, strict=True) if n]
    hits, images = (prod(counts) for counts in zip(*there, strict=True))
    return root(Fraction(hits, images), len(there))


def macro_auroc(test: EvaluationResult) -> Fraction | None:
    """Return the mean over classes of the area under the ROC curve, each against all others.

    A class that has no test image, or all of them, has no curve.
    """
    if test.auroc_pairs is None:
        return None
    images = sum(test.totals)
    return mean_accuracy(test.auroc_pairs, [2 * n * (images - n) for n in test.totals])


def macro_auprc(test: EvaluationResult) -> Fraction | None:
    """Return the mean average precision of the classes that the test set has."""
    if test.average_precision is None:
        return None
    return mean([measured(each) for each in test.average_precision if each is not None])


def training_accuracy(record: Record) -> Fraction | None:
    """Return the accuracy on the training images after the last epoch."""
    if record.training is None or record.training.hits is None:
        return None
    return Fraction(sum(record.training.hits), sum(record.split.train_counts))


def _of_group(group: Group) -> Compute:
    return lambda run: mean_accuracy(
        run.test.hits, run.test.totals, [each == group for each in run.groups]
    )


_ENTRIES = (
    Metric(
        "acc",
        "Acc",
        "Top-1 accuracy on the test set after the last epoch in %, mean over seeds ± sample "
        "standard deviation.",
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
        "Upper reference accuracy: the better of softmax and the method itself, trained on the "
        "balanced counterpart of the long-tailed set.",
        None,
        best=None,
        table="main",
        published="UA",
    ),
    Metric(
        "ra",
        "RA",
        "Relative accuracy, 100 Acc / UA, with its 95 % bootstrap interval over seeds: how much is "
        "kept of what the same network reaches without imbalance.",
        None,
        table="main",
        published="RA",
    ),
    *(
        Metric(
            group,
            group.capitalize(),
            f"Mean of the accuracies of classes with {images} training images.",
            _of_group(group),
            table="groups",
            published=group,
        )
        for group, images in zip(GROUPS, ("many", "a medium number of", "few"), strict=True)
    ),
    Metric(
        "worst_class",
        "Worst class",
        "The lowest accuracy of a class.",
        lambda run: worst_class(run.test),
    ),
    Metric(
        "geometric_mean",
        "G-mean",
        "Geometric mean of the accuracies of all classes; 0 where one of them is.",
        lambda run: geometric_mean(run.test),
    ),
    Metric(
        "macro_precision",
        "Macro precision",
        "Mean over classes of precision, which is 0 for a class that is never predicted.",
        lambda run: macro_precision(run.test),
    ),
    Metric(
        "macro_f1",
        "Macro F1",
        "Mean over classes of F1, the harmonic mean of recall and precision.",
        lambda run: macro_f1(run.test),
    ),
    Metric(
        "auroc",
        "AUROC",
        "Mean over classes of the area under the ROC curve, of a class against all others by its "
        "probability.",
        lambda run: macro_auroc(run.test),
    ),
    Metric(
        "auprc",
        "AUPRC",
        "Mean over classes of average precision, of images ranked by the probability of the class.",
        lambda run: macro_auprc(run.test),
    ),
    Metric(
        "train_acc",
        "Train acc",
        "Accuracy on the training images after the last epoch, seen as the test sees images.",
        lambda run: training_accuracy(run.record),
        best=None,
    ),
    Metric(
        "ece",
        "ECE",
        "Expected calibration error: mean distance between confidence and accuracy in 15 equal "
        "bins of confidence, weighted by images.",
        lambda run: measured(run.test.calibration.ece),
        best="lowest",
        table="calibration",
    ),
)

METRICS: dict[str, Metric] = {metric.key: metric for metric in _ENTRIES}
"""By key, in the order of columns."""


def metrics_in(table: Table) -> list[Metric]:
    """Return the metrics that have a column in a table."""
    return [metric for metric in METRICS.values() if metric.table == table]


def run_metrics() -> list[Metric]:
    """Return the metrics of one run."""
    return [metric for metric in METRICS.values() if metric.compute is not None]


def metric_values(
    record: Record, test: EvaluationResult | None = None
) -> dict[str, Fraction | None]:
    """Return every metric of a run by key: None where it lacks what a metric needs.

    Args:
        record: of the run.
        test: of the same network on other images; that of the record where None.
    """
    tested = test or record.test
    if tested is None:
        return dict.fromkeys(metric.key for metric in run_metrics())
    groups = class_groups(record.split.longtailed_counts, record.job.dataset.shot_rule)
    run = EvaluatedRun(record, tested, groups)
    return {metric.key: metric.of(run) for metric in run_metrics()}
